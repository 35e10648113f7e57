/* Products on AVX-512 VNNI: one instruction multiplies 64 unsigned with 64 signed bytes and adds
 * them in fours, without saturating on the way. */

enum { VARIANT(TILE) = 12, VARIANT(UNFETCHED) = 4 };

/* sum of (x - 128) * w */
static int32_t VARIANT(dot)(const uint8_t *x, const int8_t *w, int64_t width, int32_t w_sum)
{
    __m512i a = _mm512_setzero_si512(), b = _mm512_setzero_si512();
    int64_t i = 0;
    for (; i + 128 <= width; i += 128) {
        a = _mm512_dpbusd_epi32(a, _mm512_loadu_si512(x + i), _mm512_loadu_si512(w + i));
        b = _mm512_dpbusd_epi32(b, _mm512_loadu_si512(x + i + 64), _mm512_loadu_si512(w + i + 64));
    }
    int32_t sum = _mm512_reduce_add_epi32(_mm512_add_epi32(a, b));
    for (; i < width; i++)
        sum += (int32_t)x[i] * (int32_t)w[i];
    return sum - 128 * w_sum;
}

INLINE void VARIANT(tile_of)(const int count, const uint8_t *x, int64_t x_stride,
                             const int8_t *panel, int64_t steps, const char *ahead, int64_t lines,
                             int32_t sums[][PANEL])
{
    __m512i acc[MOST_TILE][2];
    int64_t due = 0;
#pragma GCC unroll 12
    for (int r = 0; r < count; r++)
        acc[r][0] = acc[r][1] = _mm512_setzero_si512();
    for (int64_t k = 0; k < steps; k++) {
        __m512i low = _mm512_load_si512(panel + k * STEP);
        __m512i high = _mm512_load_si512(panel + k * STEP + 64);
        ahead = fetch_due(ahead, lines, steps, &due);
#pragma GCC unroll 12
        for (int r = 0; r < count; r++) {
            int32_t four;
            memcpy(&four, x + r * x_stride + 4 * k, 4);
            __m512i inputs = _mm512_set1_epi32(four);
            acc[r][0] = _mm512_dpbusd_epi32(acc[r][0], inputs, low);
            acc[r][1] = _mm512_dpbusd_epi32(acc[r][1], inputs, high);
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < count; r++) {
        _mm512_store_si512(sums[r], acc[r][0]);
        _mm512_store_si512(sums[r] + 16, acc[r][1]);
    }
}

#define TILE_CASE(n)                                                                             \
    case n:                                                                                      \
        VARIANT(tile_of)(n, x, x_stride, panel, steps, ahead, lines, sums);                      \
        break;

static void VARIANT(tile)(int count, const uint8_t *x, int64_t x_stride, const int8_t *panel,
                          int64_t steps, const char *ahead, int64_t lines, int32_t sums[][PANEL])
{
    switch (count) {
        TILE_CASE(1)
        TILE_CASE(2)
        TILE_CASE(3)
        TILE_CASE(4)
        TILE_CASE(5)
        TILE_CASE(6)
        TILE_CASE(7)
        TILE_CASE(8)
        TILE_CASE(9)
        TILE_CASE(10)
        TILE_CASE(11)
        TILE_CASE(12)
    }
}
#undef TILE_CASE
