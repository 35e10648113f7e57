/* One row of each kernel, compiled once for every instruction set.
 *
 * kernels.c includes this file several times with another target and another
 * VARIANT(name) each time. Everything here works on one row, or on one head of one
 * row, with a fixed order of operations: that is what makes a row's result
 * independent of its neighbours and of the number of threads.
 */

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
    float mean = 0.0f, square = 0.0f;
    if (norm == LAYER_NORM) {
#pragma omp simd reduction(+ : mean)
        for (int64_t i = 0; i < width; i++)
            mean += x[i];
        mean /= (float)width;
    }
#pragma omp simd reduction(+ : square)
    for (int64_t i = 0; i < width; i++) {
        float centred = x[i] - mean;
        square += centred * centred;
    }
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

/* sum of x * w, x unsigned around 128: the caller takes 128 * sum(w) off. */
static inline int32_t VARIANT(dot)(const uint8_t *x, const int8_t *w, int64_t width)
{
    int32_t sum = 0;
    int64_t i = 0;
#if defined(USE_VNNI)
    __m512i a = _mm512_setzero_si512(), b = _mm512_setzero_si512();
    for (; i + 128 <= width; i += 128) {
        a = _mm512_dpbusd_epi32(a, _mm512_loadu_si512(x + i), _mm512_loadu_si512(w + i));
        b = _mm512_dpbusd_epi32(b, _mm512_loadu_si512(x + i + 64), _mm512_loadu_si512(w + i + 64));
    }
    sum = _mm512_reduce_add_epi32(_mm512_add_epi32(a, b));
#endif
    for (; i < width; i++)
        sum += (int32_t)x[i] * (int32_t)w[i];
    return sum;
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
        int32_t sum = VARIANT(dot)(x, a->down + r * a->in, a->in) - 128 * a->down_sum[r];
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

#if defined(USE_VNNI)
static inline __m512 VARIANT(widen16)(const uint16_t *half)
{
    __m256i narrow = _mm256_loadu_si256((const __m256i *)half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(narrow), 16));
}

/* Heads of 64, the common case: the query and the sums stay in registers. */
static void VARIANT(score64)(const float *q, const uint16_t *keys, int64_t length, float *weights)
{
    __m512 a = _mm512_loadu_ps(q), b = _mm512_loadu_ps(q + 16);
    __m512 c = _mm512_loadu_ps(q + 32), d = _mm512_loadu_ps(q + 48);
    for (int64_t p = 0; p < length; p++) {
        const uint16_t *key = keys + p * 64;
        __m512 low = _mm512_mul_ps(a, VARIANT(widen16)(key));
        __m512 high = _mm512_mul_ps(b, VARIANT(widen16)(key + 16));
        low = _mm512_fmadd_ps(c, VARIANT(widen16)(key + 32), low);
        high = _mm512_fmadd_ps(d, VARIANT(widen16)(key + 48), high);
        weights[p] = _mm512_reduce_add_ps(_mm512_add_ps(low, high));
    }
}

static void VARIANT(mix64)(const float *weights, const uint16_t *values, int64_t length, float *out)
{
    __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a;
    for (int64_t p = 0; p < length; p++) {
        const uint16_t *value = values + p * 64;
        __m512 weight = _mm512_set1_ps(weights[p]);
        a = _mm512_fmadd_ps(weight, VARIANT(widen16)(value), a);
        b = _mm512_fmadd_ps(weight, VARIANT(widen16)(value + 16), b);
        c = _mm512_fmadd_ps(weight, VARIANT(widen16)(value + 32), c);
        d = _mm512_fmadd_ps(weight, VARIANT(widen16)(value + 48), d);
    }
    _mm512_storeu_ps(out, a);
    _mm512_storeu_ps(out + 16, b);
    _mm512_storeu_ps(out + 32, c);
    _mm512_storeu_ps(out + 48, d);
}
#endif

/* weights[p] = q . keys[p] */
static void VARIANT(score)(const float *q, const uint16_t *keys, int64_t length, int64_t width,
                           float *weights)
{
#if defined(USE_VNNI)
    if (width == 64) {
        VARIANT(score64)(q, keys, length, weights);
        return;
    }
#endif
    for (int64_t p = 0; p < length; p++) {
        const uint16_t *key = keys + p * width;
        float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < width; i++)
            sum += q[i] * VARIANT(widen)(key[i]);
        weights[p] = sum;
    }
}

/* out = sum over p of weights[p] * values[p] */
static void VARIANT(mix)(const float *weights, const uint16_t *values, int64_t length,
                         int64_t width, float *out)
{
#if defined(USE_VNNI)
    if (width == 64) {
        VARIANT(mix64)(weights, values, length, out);
        return;
    }
#endif
    memset(out, 0, sizeof(float) * (size_t)width);
    for (int64_t p = 0; p < length; p++) {
        const uint16_t *value = values + p * width;
        for (int64_t i = 0; i < width; i++)
            out[i] += weights[p] * VARIANT(widen)(value[i]);
    }
}

/* One head of one row: softmax(q . keys * scale + bias) . values over `length` positions. */
static void VARIANT(attend)(const float *q, const uint16_t *keys, const uint16_t *values,
                            int64_t length, int64_t width, float scale, const float *bias,
                            float *weights, float *out)
{
    float largest = -INFINITY, total = 0.0f;
    int32_t undefined = 0;
    VARIANT(score)(q, keys, length, width, weights);
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
#pragma omp simd reduction(+ : total)
    for (int64_t p = 0; p < length; p++) {
        float e = VARIANT(exponential)(weights[p] - largest);
        weights[p] = e;
        total += e;
    }
    float share = undefined ? NAN : 1.0f / total;
    for (int64_t p = 0; p < length; p++)
        weights[p] *= share;
    VARIANT(mix)(weights, values, length, width, out);
}

/* Take a part of a row's logits into its top list and log-sum-exp. */
static void VARIANT(rank_tokens)(const float *logits, int64_t count, int64_t first,
                                 struct ranking *row, const int64_t *blocked, int64_t blocks)
{
    for (int64_t start = 0; start < count; start += RANK_BLOCK) {
        int64_t size = count - start < RANK_BLOCK ? count - start : RANK_BLOCK;
        const float *block = logits + start;
        float largest = -INFINITY, sum = 0.0f;
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
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < size; i++)
            sum += VARIANT(exponential)(block[i] - reference);
        row->sum += sum;
        if (!(largest > row->values[row->keep - 1]))
            continue;
        for (int64_t i = 0; i < size; i++)
            if (block[i] > row->values[row->keep - 1])
                insert(row, block[i], first + start + i, blocked, blocks);
    }
}
