/* Products in C alone: for processors without vectors that we know, and to compare with. */

enum { VARIANT(TILE) = 4, VARIANT(UNFETCHED) = 4 };

static int32_t VARIANT(dot)(const uint8_t *x, const int8_t *w, int64_t width, int32_t w_sum)
{
    int32_t sum = 0;
    for (int64_t i = 0; i < width; i++)
        sum += (int32_t)x[i] * (int32_t)w[i];
    return sum - 128 * w_sum;
}

static void VARIANT(tile)(int count, const uint8_t *x, int64_t x_stride, const int8_t *panel,
                          int64_t steps, const char *ahead, int64_t lines, int32_t sums[][PANEL])
{
    (void)ahead, (void)lines; /* arithmetic is the limit, not memory */
    for (int r = 0; r < count; r++) {
        int32_t total[PANEL] = {0};
        for (int64_t k = 0; k < steps; k++) {
            const uint8_t *four = x + r * x_stride + 4 * k;
            const int8_t *w = panel + k * STEP;
            for (int i = 0; i < PANEL; i++)
                total[i] += four[0] * w[4 * i] + four[1] * w[4 * i + 1] + four[2] * w[4 * i + 2] +
                            four[3] * w[4 * i + 3];
        }
        memcpy(sums[r], total, sizeof total);
    }
}
