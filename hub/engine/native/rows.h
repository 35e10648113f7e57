/* One row of each kernel, compiled once for every instruction set.
 *
 * variants.h includes this file several times, with another target, another VARIANT(name) and
 * another WIDTH (floats in a vector) each time. Everything here works on one row, or on one head
 * of one row, with a fixed order of operations: that makes a row's result independent of its
 * neighbours, of the number of threads and of the instruction set.
 *
 * Sums of floats run in LANES lanes, element i in lane i % LANES, and the lanes are added as a
 * tree: i + 8, i + 4, i + 2, i + 1. Products are rounded before they are added: the file is
 * compiled without fused multiply-adds (-ffp-contract=off), which not every processor has.
 */

typedef float VARIANT(vector) __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef uint32_t VARIANT(words) __attribute__((vector_size(4 * WIDTH), aligned(2), may_alias));
enum { VARIANT(PARTS) = LANES / WIDTH };

#if defined(__SSE2__)
INLINE float VARIANT(add_lanes4)(__m128 v)
{
    v = _mm_add_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps(v, v, 1)));
}
#endif

/* The sum of all lanes, as a tree. */
INLINE float VARIANT(add_lanes)(const VARIANT(vector) *part)
{
#if WIDTH == 16
    __m256 low = _mm512_castps512_ps256((__m512)part[0]);
    __m256 eight = _mm256_add_ps(low, _mm512_extractf32x8_ps((__m512)part[0], 1));
#elif WIDTH == 8
    __m256 eight = _mm256_add_ps((__m256)part[0], (__m256)part[1]);
#else
    VARIANT(vector) four = (part[0] + part[2]) + (part[1] + part[3]);
#endif
#if WIDTH >= 8
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
#endif
#if defined(__SSE2__)
    return VARIANT(add_lanes4)((__m128)four);
#else
    return (four[0] + four[2]) + (four[1] + four[3]);
#endif
}

INLINE void VARIANT(clear)(VARIANT(vector) *part)
{
#pragma GCC unroll 4
    for (int i = 0; i < VARIANT(PARTS); i++)
        part[i] = (VARIANT(vector)){0};
}

INLINE VARIANT(vector) VARIANT(part_of)(const float *x, int part)
{
    return *(const VARIANT(vector) *)(x + part * WIDTH);
}

/* The elements from `start` on, as a block of LANES filled up with `filling`. */
INLINE const float *VARIANT(last_block)(const float *x, int64_t start, int64_t count,
                                        float filling, float *block)
{
    for (int64_t i = 0; i < LANES; i++)
        block[i] = start + i < count ? x[start + i] : filling;
    return block;
}

/* sum of x */
static float VARIANT(sum)(const float *x, int64_t count)
{
    VARIANT(vector) acc[VARIANT(PARTS)];
    float block[LANES];
    VARIANT(clear)(acc);
    for (int64_t start = 0; start < count; start += LANES) {
        const float *from = x + start;
        if (start + LANES > count)
            from = VARIANT(last_block)(x, start, count, 0.0f, block);
#pragma GCC unroll 4
        for (int part = 0; part < VARIANT(PARTS); part++)
            acc[part] += VARIANT(part_of)(from, part);
    }
    return VARIANT(add_lanes)(acc);
}

/* sum of (x - mean)^2 */
static float VARIANT(squares)(const float *x, int64_t count, float mean)
{
    VARIANT(vector) acc[VARIANT(PARTS)];
    float block[LANES];
    VARIANT(clear)(acc);
    for (int64_t start = 0; start < count; start += LANES) {
        const float *from = x + start;
        if (start + LANES > count)
            from = VARIANT(last_block)(x, start, count, mean, block);
#pragma GCC unroll 4
        for (int part = 0; part < VARIANT(PARTS); part++) {
            VARIANT(vector) centred = VARIANT(part_of)(from, part) - mean;
            acc[part] += centred * centred;
        }
    }
    return VARIANT(add_lanes)(acc);
}

static inline float VARIANT(exponential)(float x)
{
    /* 2^n * 2^f, f in [-1/2, 1/2]: a polynomial of degree 6, relative error 2e-7. */
    x = x < -87.0f ? -87.0f : x;
    float scaled = x * 1.44269504f;
    float whole = scaled + 12582912.0f;
    int32_t bits;
    memcpy(&bits, &whole, 4);
    float f = (scaled - (whole - 12582912.0f)) * 0.693147181f;
    float p = 1.0f / 720.0f;
    p = p * f + 1.0f / 120.0f;
    p = p * f + 1.0f / 24.0f;
    p = p * f + 1.0f / 6.0f;
    p = p * f + 0.5f;
    p = p * f + 1.0f;
    p = p * f + 1.0f;
    int32_t power = (bits - 0x4B400000 + 127) << 23;
    float two_n;
    memcpy(&two_n, &power, 4);
    return p * two_n;
}

static inline float VARIANT(activate)(float x, int activation)
{
    if (activation == RELU)
        return x > 0.0f ? x : (x != x ? x : 0.0f);
    if (activation == GELU)
        return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    return x;
}

/* y = norm(x) * weight + bias; weight and bias may be absent. */
static void VARIANT(normalise)(const float *x, float *y, int64_t width, int norm, float epsilon,
                               const float *weight, const float *bias)
{
    float mean = norm == LAYER_NORM ? VARIANT(sum)(x, width) / (float)width : 0.0f;
    float square = VARIANT(squares)(x, width, mean);
    float factor = 1.0f / sqrtf(square / (float)width + epsilon);
    if (weight == NULL) {
        for (int64_t i = 0; i < width; i++)
            y[i] = (x[i] - mean) * factor;
    } else if (bias == NULL) {
        for (int64_t i = 0; i < width; i++)
            y[i] = (x[i] - mean) * factor * weight[i];
    } else {
        for (int64_t i = 0; i < width; i++)
            y[i] = (x[i] - mean) * factor * weight[i] + bias[i];
    }
}

/* Quantize to unsigned 8 bits around 128; return the largest magnitude, NaN if any is. */
static float VARIANT(quantize)(const float *x, uint8_t *out, int64_t width)
{
    float largest = TINY;
    int32_t undefined = 0;
#pragma omp simd reduction(max : largest) reduction(| : undefined)
    for (int64_t i = 0; i < width; i++) {
        float magnitude = fabsf(x[i]);
        largest = magnitude > largest ? magnitude : largest;
        undefined |= x[i] != x[i];
    }
    float factor = 127.0f / largest;
    for (int64_t i = 0; i < width; i++) {
        float shifted = x[i] * factor + 12582912.0f; /* rounds to the nearest even */
        int32_t bits;
        memcpy(&bits, &shifted, 4);
        out[i] = (uint8_t)(bits + 128);
    }
    return undefined ? NAN : largest;
}

/* x = x * scale + bias; with `onto`, also onto += x. */
static void VARIANT(finish)(float *x, int64_t width, float scale, const float *bias, float *onto)
{
    if (bias != NULL)
        for (int64_t i = 0; i < width; i++)
            x[i] = x[i] * scale + bias[i];
    else
        for (int64_t i = 0; i < width; i++)
            x[i] *= scale;
    if (onto != NULL)
        for (int64_t i = 0; i < width; i++)
            onto[i] += x[i];
}

/* y += sum over ranks of z[r] * up[r], four ranks at a time. */
static void VARIANT(expand)(const float *z, const int8_t *up, int64_t ranks, float *y, int64_t width)
{
    int64_t r = 0;
    for (; r + 4 <= ranks; r += 4) {
        const int8_t *u = up + r * width;
        float a = z[r], b = z[r + 1], c = z[r + 2], d = z[r + 3];
        if (a == 0.0f && b == 0.0f && c == 0.0f && d == 0.0f)
            continue;
        for (int64_t i = 0; i < width; i++)
            y[i] += (a * u[i] + b * u[i + width]) + (c * u[i + 2 * width] + d * u[i + 3 * width]);
    }
    for (; r < ranks; r++)
        for (int64_t i = 0; i < width; i++)
            y[i] += z[r] * up[r * width + i];
}

/* Adapters are read once a step: ask for the bytes before they are needed. */
static inline void VARIANT(fetch)(const int8_t *from, int64_t count)
{
#if defined(__GNUC__)
    for (int64_t i = 0; i < count; i += 64)
        __builtin_prefetch(from + i);
#endif
}

/* One row through one adapter: out += up(act(down(x))) for a quantized x. */
static void VARIANT(adapt)(const struct adapter *a, const uint8_t *x, float scale, float *z, float *out)
{
    for (int64_t r = 0; r < a->ranks; r++) {
        VARIANT(fetch)(a->down + (r + AHEAD) * a->in, a->in);
        VARIANT(fetch)(a->up + r * a->out, a->out);
        int32_t sum = VARIANT(dot)(x, a->down + r * a->in, a->in, a->down_sum[r]);
        float value = (float)sum * (a->rank_scale[r] * scale);
        if (a->down_bias != NULL)
            value = VARIANT(activate)(value + a->down_bias[r], a->activation) * a->up_scale[r];
        z[r] = value;
    }
    VARIANT(expand)(z, a->up, a->ranks, out, a->out);
    if (a->up_bias != NULL)
        for (int64_t i = 0; i < a->out; i++)
            out[i] += a->up_bias[i];
}

static inline float VARIANT(widen)(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

/* To bfloat16, to the nearest even; NaN stays NaN. */
static inline uint16_t VARIANT(narrow)(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    return (uint16_t)(value != value ? (bits >> 16) | 0x40 : rounded);
}

static void VARIANT(store)(const float *x, uint16_t *cache, int64_t width)
{
    for (int64_t i = 0; i < width; i++)
        cache[i] = VARIANT(narrow)(x[i]);
}

/* Two bfloat16 in each word: an element with an even index, and the odd one behind it. */
INLINE VARIANT(vector) VARIANT(even)(VARIANT(words) pairs)
{
    return (VARIANT(vector))(pairs << 16);
}

INLINE VARIANT(vector) VARIANT(odd)(VARIANT(words) pairs)
{
    return (VARIANT(vector))(pairs & 0xFFFF0000u);
}

/* Sort a query into blocks of PAIRS even elements and PAIRS odd ones, filled up with zeros. */
static void VARIANT(sort_query)(const float *q, int64_t width, float *sorted)
{
    for (int64_t start = 0; start < width; start += 2 * PAIRS, sorted += 2 * PAIRS)
        for (int64_t i = 0; i < PAIRS; i++) {
            sorted[i] = start + 2 * i < width ? q[start + 2 * i] : 0.0f;
            sorted[PAIRS + i] = start + 2 * i + 1 < width ? q[start + 2 * i + 1] : 0.0f;
        }
}

/* q . key; `width` is a constant for the common heads, whose query stays in registers. */
INLINE float VARIANT(product)(const float *sorted, const uint16_t *key, const int64_t width)
{
    VARIANT(vector) acc[VARIANT(PARTS)];
    uint16_t rest[2 * PAIRS] = {0};
    VARIANT(clear)(acc);
#pragma GCC unroll 4
    for (int64_t start = 0; start < width; start += 2 * PAIRS) {
        const uint16_t *from = key + start;
        if (start + 2 * PAIRS > width)
            from = memcpy(rest, from, sizeof(uint16_t) * (size_t)(width - start));
#pragma GCC unroll 4
        for (int part = 0; part < VARIANT(PARTS); part++) {
            VARIANT(words) pairs = *(const VARIANT(words) *)(from + part * 2 * WIDTH);
            acc[part] += VARIANT(part_of)(sorted + start, part) * VARIANT(even)(pairs);
            acc[part] += VARIANT(part_of)(sorted + start + PAIRS, part) * VARIANT(odd)(pairs);
        }
    }
    return VARIANT(add_lanes)(acc);
}

/* weights[p] = q . keys[p] */
static void VARIANT(score)(const float *sorted, const uint16_t *keys, int64_t length, int64_t width,
                           float *weights)
{
    if (width == 64)
        for (int64_t p = 0; p < length; p++)
            weights[p] = VARIANT(product)(sorted, keys + p * 64, 64);
    else
        for (int64_t p = 0; p < length; p++)
            weights[p] = VARIANT(product)(sorted, keys + p * width, width);
}

/* MIXED outputs of `mix`, whose sums stay in registers: even ones and odd ones. */
enum { VARIANT(MIXED) = WIDTH == 4 ? 32 : 64, VARIANT(MIXED_PARTS) = VARIANT(MIXED) / WIDTH / 2 };

static void VARIANT(mix_block)(const float *weights, const uint16_t *values, int64_t length,
                               int64_t width, float *out)
{
    VARIANT(vector) even[VARIANT(MIXED_PARTS)], odd[VARIANT(MIXED_PARTS)];
#pragma GCC unroll 4
    for (int part = 0; part < VARIANT(MIXED_PARTS); part++)
        even[part] = odd[part] = (VARIANT(vector)){0};
    for (int64_t p = 0; p < length; p++)
#pragma GCC unroll 4
        for (int part = 0; part < VARIANT(MIXED_PARTS); part++) {
            const uint16_t *from = values + p * width + part * 2 * WIDTH;
            VARIANT(words) pairs = *(const VARIANT(words) *)from;
            even[part] += weights[p] * VARIANT(even)(pairs);
            odd[part] += weights[p] * VARIANT(odd)(pairs);
        }
#pragma GCC unroll 4
    for (int part = 0; part < VARIANT(MIXED_PARTS); part++)
        for (int i = 0; i < WIDTH; i++) {
            out[2 * (part * WIDTH + i)] = even[part][i];
            out[2 * (part * WIDTH + i) + 1] = odd[part][i];
        }
}

/* out = sum over p of weights[p] * values[p] */
static void VARIANT(mix)(const float *weights, const uint16_t *values, int64_t length,
                         int64_t width, float *out)
{
    int64_t start = 0;
    for (; start + VARIANT(MIXED) <= width; start += VARIANT(MIXED))
        VARIANT(mix_block)(weights, values + start, length, width, out + start);
    for (int64_t i = start; i < width; i++)
        out[i] = 0.0f;
    for (int64_t p = 0; p < length; p++)
        for (int64_t i = start; i < width; i++)
            out[i] += weights[p] * VARIANT(widen)(values[p * width + i]);
}

/* One head of one row: softmax(q . keys * scale + bias) . values over `length` positions.
 * `scratch` holds length + width + 2 * PAIRS. */
static void VARIANT(attend)(const float *q, const uint16_t *keys, const uint16_t *values,
                            int64_t length, int64_t width, float scale, const float *bias,
                            float *scratch, float *out)
{
    float largest = -INFINITY, *sorted = scratch, *weights = scratch + width + 2 * PAIRS;
    int32_t undefined = 0;
    VARIANT(sort_query)(q, width, sorted);
    VARIANT(score)(sorted, keys, length, width, weights);
    for (int64_t p = 0; p < length; p++)
        weights[p] *= scale;
    if (bias != NULL)
        for (int64_t p = 0; p < length; p++)
            weights[p] += bias[length - 1 - p];
#pragma omp simd reduction(max : largest) reduction(| : undefined)
    for (int64_t p = 0; p < length; p++) {
        largest = weights[p] > largest ? weights[p] : largest;
        undefined |= weights[p] != weights[p];
    }
    for (int64_t p = 0; p < length; p++)
        weights[p] = VARIANT(exponential)(weights[p] - largest);
    float share = undefined ? NAN : 1.0f / VARIANT(sum)(weights, length);
    for (int64_t p = 0; p < length; p++)
        weights[p] *= share;
    VARIANT(mix)(weights, values, length, width, out);
}

/* Take a part of a row's logits into its top list and log-sum-exp. */
static void VARIANT(rank_tokens)(const float *logits, int64_t count, int64_t first,
                                 struct ranking *row, const int64_t *blocked, int64_t blocks)
{
    float above[RANK_BLOCK];
    for (int64_t start = 0; start < count; start += RANK_BLOCK) {
        int64_t size = count - start < RANK_BLOCK ? count - start : RANK_BLOCK;
        const float *block = logits + start;
        float largest = -INFINITY;
        int32_t undefined = 0;
#pragma omp simd reduction(max : largest) reduction(| : undefined)
        for (int64_t i = 0; i < size; i++) {
            largest = block[i] > largest ? block[i] : largest;
            undefined |= block[i] != block[i];
        }
        row->undefined |= undefined;
        if (largest > row->largest) {
            row->sum *= VARIANT(exponential)(row->largest - largest);
            row->largest = largest;
        }
        float reference = row->largest;
        for (int64_t i = 0; i < size; i++)
            above[i] = VARIANT(exponential)(block[i] - reference);
        row->sum += VARIANT(sum)(above, size);
        if (!(largest > row->values[row->keep - 1]))
            continue;
        for (int64_t i = 0; i < size; i++)
            if (block[i] > row->values[row->keep - 1])
                insert(row, block[i], first + start + i, blocked, blocks);
    }
}
