/* Products of 8-bit rows with 8-bit weights on AVX-512 VNNI.
 *
 * Weights lie in panels of PANEL outputs: [panel][k / 4][output][k % 4], so that one load
 * feeds 16 outputs with four inputs each. A tile of up to TILE rows runs down a panel
 * with all its sums in registers; meanwhile the next panel is fetched, since for few
 * rows memory is the limit. Sums are integers: neither tiles nor threads change them.
 */

static inline __attribute__((always_inline)) void tile_of(
    const int count, const uint8_t *x, int64_t x_stride, const int8_t *panel, int64_t steps,
    const char *ahead, int64_t ahead_lines, __m512i sums[][2])
{
    __m512i acc[TILE][2];
    int64_t due = 0;
#pragma GCC unroll 12
    for (int r = 0; r < count; r++)
        acc[r][0] = acc[r][1] = _mm512_setzero_si512();
    for (int64_t k = 0; k < steps; k++) {
        __m512i low = _mm512_load_si512(panel + k * 128);
        __m512i high = _mm512_load_si512(panel + k * 128 + 64);
        for (due += ahead_lines; due >= steps; due -= steps, ahead += 64)
            _mm_prefetch(ahead, _MM_HINT_T1);
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
        sums[r][0] = acc[r][0];
        sums[r][1] = acc[r][1];
    }
}

#define TILE_CASE(n)                                                                             \
    case n:                                                                                      \
        tile_of(n, x, x_stride, panel, steps, ahead, ahead_lines, sums);                         \
        break;

static void run_tile(int count, const uint8_t *x, int64_t x_stride, const int8_t *panel,
                     int64_t steps, const char *ahead, int64_t ahead_lines, __m512i sums[][2])
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

/* One product, finished: (sum - offset) * scale[out] * row_scale[row] + bias[out]. */
struct product {
    const uint8_t *x;
    int64_t x_stride, steps, width;
    const int8_t *weight;
    const float *scale, *bias, *row_scale;
    const int32_t *offset;
    float *out;
    int64_t out_stride;
    int add;
};

static inline void finish_half(const struct product *p, __m512i sums, int64_t row, int64_t first)
{
    if (first >= p->width)
        return;
    __mmask16 lanes = p->width - first >= 16 ? 0xFFFF : (__mmask16)((1 << (p->width - first)) - 1);
    __m512i whole = _mm512_sub_epi32(sums, _mm512_maskz_loadu_epi32(lanes, p->offset + first));
    __m512 scale = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, p->scale + first),
                                 _mm512_set1_ps(p->row_scale[row]));
    __m512 bias = p->bias ? _mm512_maskz_loadu_ps(lanes, p->bias + first) : _mm512_setzero_ps();
    __m512 value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale, bias);
    float *out = p->out + row * p->out_stride + first;
    if (p->add)
        value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(lanes, out));
    _mm512_mask_storeu_ps(out, lanes, value);
}

/* Rows `first_row` to `last_row` through one panel; each tile fetches its share of the next. */
static void run_panel(const struct product *p, int64_t panel, int64_t panels, int64_t first_row,
                      int64_t last_row)
{
    int64_t bytes = p->steps * 4 * PANEL, tiles = (last_row - first_row + TILE - 1) / TILE;
    int64_t lines = panel + 1 < panels ? (bytes / 64 + tiles - 1) / tiles : 0;
    const int8_t *weight = p->weight + panel * bytes;
    const char *ahead = (const char *)weight + bytes;
    for (int64_t row = first_row; row < last_row; row += TILE, ahead += lines * 64) {
        int count = last_row - row < TILE ? (int)(last_row - row) : TILE;
        __m512i sums[TILE][2];
        run_tile(count, p->x + row * p->x_stride, p->x_stride, weight, p->steps, ahead, lines,
                 sums);
        for (int r = 0; r < count; r++) {
            finish_half(p, sums[r][0], row + r, panel * PANEL);
            finish_half(p, sums[r][1], row + r, panel * PANEL + 16);
        }
    }
}

/* Few rows: threads share the panels. Many rows: they share the blocks of rows. */
static void multiply(const struct product *p, int64_t rows_count, int threads)
{
    int64_t panels = (p->width + PANEL - 1) / PANEL;
    int64_t blocks = (rows_count + ROW_BLOCK - 1) / ROW_BLOCK;
    if (rows_count <= 0)
        return;
    if (blocks < 2 * threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int64_t panel = 0; panel < panels; panel++)
            run_panel(p, panel, panels, 0, rows_count);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t block = 0; block < blocks; block++) {
        int64_t first = block * ROW_BLOCK;
        int64_t last = rows_count - first < ROW_BLOCK ? rows_count : first + ROW_BLOCK;
        for (int64_t panel = 0; panel < panels; panel++)
            run_panel(p, panel, panels, first, last);
    }
}
