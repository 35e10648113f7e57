/* Products on ARM's dot-product instructions: 16 signed with 16 signed bytes, added in fours. */

enum { VARIANT(TILE) = 3, VARIANT(UNFETCHED) = 0, VARIANT(VECTORS) = PANEL / 4 };

/* sum of (x - 128) * w */
static int32_t VARIANT(dot)(const uint8_t *x, const int8_t *w, int64_t width, int32_t w_sum)
{
    int32x4_t acc = vdupq_n_s32(0);
    const uint8x16_t zero = vdupq_n_u8(128);
    int64_t i = 0;
    (void)w_sum;
    for (; i + 16 <= width; i += 16) {
        int8x16_t inputs = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(x + i), zero));
        acc = vdotq_s32(acc, inputs, vld1q_s8(w + i));
    }
    int32_t sum = vaddvq_s32(acc);
    for (; i < width; i++)
        sum += ((int32_t)x[i] - 128) * (int32_t)w[i];
    return sum;
}

INLINE void VARIANT(tile_of)(const int count, const uint8_t *x, int64_t x_stride,
                             const int8_t *panel, int64_t steps, const char *ahead, int64_t lines,
                             int32_t sums[][PANEL])
{
    int32x4_t acc[VARIANT(TILE)][VARIANT(VECTORS)];
    int8x16_t inputs[VARIANT(TILE)];
    int64_t due = 0;
#pragma GCC unroll 3
    for (int r = 0; r < count; r++)
#pragma GCC unroll 8
        for (int v = 0; v < VARIANT(VECTORS); v++)
            acc[r][v] = vdupq_n_s32(0);
    for (int64_t k = 0; k < steps; k++) {
        ahead = fetch_due(ahead, lines, steps, &due);
#pragma GCC unroll 3
        for (int r = 0; r < count; r++) {
            int32_t four;
            memcpy(&four, x + r * x_stride + 4 * k, 4);
            inputs[r] = vreinterpretq_s8_s32(vdupq_n_s32(four));
        }
#pragma GCC unroll 8
        for (int v = 0; v < VARIANT(VECTORS); v++) {
            int8x16_t w = vld1q_s8(panel + k * STEP + 16 * v);
#pragma GCC unroll 3
            for (int r = 0; r < count; r++)
                acc[r][v] = vdotq_s32(acc[r][v], w, inputs[r]);
        }
    }
#pragma GCC unroll 3
    for (int r = 0; r < count; r++)
#pragma GCC unroll 8
        for (int v = 0; v < VARIANT(VECTORS); v++)
            vst1q_s32(sums[r] + 4 * v, acc[r][v]);
}

static void VARIANT(tile)(int count, const uint8_t *x, int64_t x_stride, const int8_t *panel,
                          int64_t steps, const char *ahead, int64_t lines, int32_t sums[][PANEL])
{
    if (count == 1)
        VARIANT(tile_of)(1, x, x_stride, panel, steps, ahead, lines, sums);
    else if (count == 2)
        VARIANT(tile_of)(2, x, x_stride, panel, steps, ahead, lines, sums);
    else
        VARIANT(tile_of)(3, x, x_stride, panel, steps, ahead, lines, sums);
}
