/* Products on AVX-VNNI: the instruction of AVX-512 VNNI, on half as wide vectors and half as many
 * registers. They hold the sums of three rows and a panel, or of six rows and half a panel. */

enum { VARIANT(TILE) = 6, VARIANT(UNFETCHED) = 3 };

/* sum of (x - 128) * w */
static int32_t VARIANT(dot)(const uint8_t *x, const int8_t *w, int64_t width, int32_t w_sum)
{
    __m256i acc[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    int64_t i = 0;
    for (; i + 64 <= width; i += 64)
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++)
            acc[half] = VNNI_DPBUSD(acc[half],
                                    _mm256_loadu_si256((const __m256i *)(x + i + 32 * half)),
                                    _mm256_loadu_si256((const __m256i *)(w + i + 32 * half)));
    int32_t parts[8], sum = 0;
    _mm256_storeu_si256((__m256i *)parts, _mm256_add_epi32(acc[0], acc[1]));
    for (int part = 0; part < 8; part++)
        sum += parts[part];
    for (; i < width; i++)
        sum += (int32_t)x[i] * (int32_t)w[i];
    return sum - 128 * w_sum;
}

/* `count` rows through `vectors` vectors of 8 outputs each, from the `first` one on. */
INLINE void VARIANT(tile_of)(const int count, const int vectors, const int first, const uint8_t *x,
                             int64_t x_stride, const int8_t *panel, int64_t steps,
                             const char *ahead, int64_t lines, int32_t sums[][PANEL])
{
    __m256i acc[VARIANT(TILE)][4];
    int64_t due = 0;
#pragma GCC unroll 6
    for (int r = 0; r < count; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            acc[r][v] = _mm256_setzero_si256();
    for (int64_t k = 0; k < steps; k++) {
        const int8_t *weights = panel + k * STEP + 32 * first;
        ahead = fetch_due(ahead, lines, steps, &due);
#pragma GCC unroll 6
        for (int r = 0; r < count; r++) {
            int32_t four;
            memcpy(&four, x + r * x_stride + 4 * k, 4);
            __m256i inputs = _mm256_set1_epi32(four);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                acc[r][v] = VNNI_DPBUSD(acc[r][v], inputs,
                                        _mm256_load_si256((const __m256i *)(weights + 32 * v)));
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < count; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            _mm256_store_si256((__m256i *)(sums[r] + 8 * (first + v)), acc[r][v]);
}

#define WHOLE_CASE(n)                                                                            \
    case n:                                                                                      \
        VARIANT(tile_of)(n, 4, 0, x, x_stride, panel, steps, ahead, lines, sums);                \
        break;
#define HALVES_CASE(n)                                                                           \
    case n:                                                                                      \
        VARIANT(tile_of)(n, 2, 0, x, x_stride, panel, steps, ahead, lines, sums);                \
        VARIANT(tile_of)(n, 2, 2, x, x_stride, panel, steps, ahead, 0, sums);                    \
        break;

static void VARIANT(tile)(int count, const uint8_t *x, int64_t x_stride, const int8_t *panel,
                          int64_t steps, const char *ahead, int64_t lines, int32_t sums[][PANEL])
{
    switch (count) {
        WHOLE_CASE(1)
        WHOLE_CASE(2)
        WHOLE_CASE(3)
        HALVES_CASE(4)
        HALVES_CASE(5)
        HALVES_CASE(6)
    }
}
#undef WHOLE_CASE
#undef HALVES_CASE
