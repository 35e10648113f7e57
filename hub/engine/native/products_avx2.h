/* Products on AVX2.
 *
 * Its instruction for bytes adds two products in 16 bits, which overflow: 2 * 255 * 127. Here
 * both sides are widened to 16 bits first, the activations once a product and the weights as they
 * are read; sums of two products have 32 bits, and 8-bit weights are exact.
 *
 * A vector of sums holds 4 outputs, two sums each: of the first and of the last two of every four
 * inputs. 16 registers hold the sums of one row and a panel, or of six rows and a quarter of one.
 */

enum { VARIANT(TILE) = 6, VARIANT(UNFETCHED) = 1, VARIANT(VECTORS) = PANEL / 4 };

/* sum of (x - 128) * w */
static int32_t VARIANT(dot)(const uint8_t *x, const int8_t *w, int64_t width, int32_t w_sum)
{
    __m256i acc[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    int64_t i = 0;
    for (; i + 32 <= width; i += 32)
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
            __m128i inputs = _mm_loadu_si128((const __m128i *)(x + i + 16 * half));
            __m128i weights = _mm_loadu_si128((const __m128i *)(w + i + 16 * half));
            acc[half] = _mm256_add_epi32(acc[half], _mm256_madd_epi16(_mm256_cvtepu8_epi16(inputs),
                                                                      _mm256_cvtepi8_epi16(weights)));
        }
    int32_t parts[8], sum = 0;
    _mm256_storeu_si256((__m256i *)parts, _mm256_add_epi32(acc[0], acc[1]));
    for (int part = 0; part < 8; part++)
        sum += parts[part];
    for (; i < width; i++)
        sum += (int32_t)x[i] * (int32_t)w[i];
    return sum - 128 * w_sum;
}

/* sum += x, in the register that holds the sum: the compiler would move it around, which costs a
 * third of the speed. */
INLINE void VARIANT(add_to)(__m256i *sum, __m256i x)
{
    __asm__("vpaddd %1, %0, %0" : "+x"(*sum) : "x"(x));
}

/* `count` rows through `vectors` vectors of weights, from the `first` one on. */
INLINE void VARIANT(tile_of)(const int count, const int vectors, const int first, const uint8_t *x,
                             int64_t x_stride, const int8_t *panel, int64_t steps,
                             const char *ahead, int64_t lines, int32_t sums[][PANEL])
{
    __m256i acc[VARIANT(TILE)][VARIANT(VECTORS)];
    int64_t due = 0;
#pragma GCC unroll 6
    for (int r = 0; r < count; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            acc[r][v] = _mm256_setzero_si256();
    for (int64_t k = 0; k < steps; k++) {
        __m256i weights[VARIANT(VECTORS)];
        ahead = fetch_due(ahead, lines, steps, &due);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            weights[v] = _mm256_cvtepi8_epi16(
                _mm_load_si128((const __m128i *)(panel + k * STEP + 16 * (first + v))));
#pragma GCC unroll 6
        for (int r = 0; r < count; r++) {
            int64_t four;
            memcpy(&four, x + r * x_stride + 8 * k, 8);
            __m256i inputs = _mm256_set1_epi64x(four);
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++)
                VARIANT(add_to)(&acc[r][v], _mm256_madd_epi16(inputs, weights[v]));
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < count; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v += 2) { /* the two sums of each output */
            __m256i both = _mm256_hadd_epi32(acc[r][v], acc[r][v + 1]);
            _mm256_store_si256((__m256i *)(sums[r] + 4 * (first + v)),
                               _mm256_permute4x64_epi64(both, 0xD8));
        }
}

#define WHOLE_CASE(n)                                                                            \
    case n:                                                                                      \
        VARIANT(tile_of)(n, 8, 0, x, x_stride, panel, steps, ahead, lines, sums);                \
        break;
#define HALVES_CASE(n)                                                                           \
    case n:                                                                                      \
        VARIANT(tile_of)(n, 4, 0, x, x_stride, panel, steps, ahead, lines, sums);                \
        VARIANT(tile_of)(n, 4, 4, x, x_stride, panel, steps, ahead, 0, sums);                    \
        break;
#define QUARTERS_CASE(n)                                                                         \
    case n:                                                                                      \
        VARIANT(tile_of)(n, 2, 0, x, x_stride, panel, steps, ahead, lines, sums);                \
        for (int first = 2; first < VARIANT(VECTORS); first += 2)                                \
            VARIANT(tile_of)(n, 2, first, x, x_stride, panel, steps, ahead, 0, sums);            \
        break;

static void VARIANT(tile)(int count, const uint8_t *x, int64_t x_stride, const int8_t *panel,
                          int64_t steps, const char *ahead, int64_t lines, int32_t sums[][PANEL])
{
    switch (count) {
        WHOLE_CASE(1)
        HALVES_CASE(2)
        QUARTERS_CASE(3)
        QUARTERS_CASE(4)
        QUARTERS_CASE(5)
        QUARTERS_CASE(6)
    }
}
#undef WHOLE_CASE
#undef HALVES_CASE
#undef QUARTERS_CASE
