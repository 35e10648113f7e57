/* Products of 8-bit rows with 8-bit weights: what every instruction set does alike.
 *
 * Weights lie in panels of PANEL outputs: [panel][k / 4][output][k % 4], so that one vector load
 * feeds 4, 8 or 16 outputs with four inputs each. VARIANT(tile), from products_*.h, runs up to
 * VARIANT(TILE) rows down a panel with their sums in registers; meanwhile the next panel is
 * fetched. Where the hardware reads ahead, up to VARIANT(UNFETCHED) rows go down a panel so fast that
 * it does so better by itself: 34 GB/s a core in place of 20 for one row on Zen 4. Sums are integers: neither
 * instruction sets nor tiles nor threads change them.
 */

/* `count` outputs of one row in one panel. */
INLINE void VARIANT(finish_some)(const struct product *p, const int32_t *sums, int64_t panel,
                                 int64_t row, const int64_t count)
{
    int64_t first = panel * PANEL;
    const int32_t *offset = p->offset ? p->offset + first : NULL;
    const float *scale = p->scale + first, *bias = p->bias ? p->bias + first : NULL;
    float value[PANEL], factor = p->row_scale[row], *out = p->out + row * p->out_stride + first;
    if (offset)
        for (int64_t i = 0; i < count; i++)
            value[i] = (float)(sums[i] - offset[i]) * (scale[i] * factor);
    else
        for (int64_t i = 0; i < count; i++)
            value[i] = (float)sums[i] * (scale[i] * factor);
    if (bias)
        for (int64_t i = 0; i < count; i++)
            value[i] += bias[i];
    if (p->add)
        for (int64_t i = 0; i < count; i++)
            value[i] += out[i];
    memcpy(out, value, sizeof(float) * (size_t)count);
}

/* Whole panels, all but the last one, have loops of constant length. */
static void VARIANT(finish_sums)(const struct product *p, const int32_t *sums, int64_t panel,
                                 int64_t row)
{
    int64_t left = p->width - panel * PANEL;
    if (left >= PANEL)
        VARIANT(finish_some)(p, sums, panel, row, PANEL);
    else
        VARIANT(finish_some)(p, sums, panel, row, left);
}

/* Rows through one panel; each tile fetches its share of the next, if `more` panels follow. */
static void VARIANT(run_panel)(const struct product *p, int64_t panel, int more, int64_t first_row,
                               int64_t last_row)
{
    int64_t bytes = p->steps * STEP;
    int64_t tiles = (last_row - first_row + VARIANT(TILE) - 1) / VARIANT(TILE);
    int unfetched = hardware_reads_ahead ? VARIANT(UNFETCHED) : 0;
    int fetches = more && last_row - first_row > unfetched;
    int64_t lines = fetches ? (bytes / 64 + tiles - 1) / tiles : 0;
    const int8_t *weight = p->weight + panel * bytes;
    const char *ahead = (const char *)weight + bytes;
    for (int64_t row = first_row; row < last_row; row += VARIANT(TILE), ahead += lines * 64) {
        int count = last_row - row < VARIANT(TILE) ? (int)(last_row - row) : VARIANT(TILE);
        int32_t sums[VARIANT(TILE)][PANEL] __attribute__((aligned(64)));
        VARIANT(tile)(count, p->x + row * p->x_stride, p->x_stride, weight, p->steps, ahead, lines,
                      sums);
        for (int r = 0; r < count; r++)
            VARIANT(finish_sums)(p, sums[r], panel, row + r);
    }
}

static void VARIANT(run_panels)(const struct product *p, int64_t first_panel, int64_t last_panel,
                                int64_t first_row, int64_t last_row)
{
    for (int64_t panel = first_panel; panel < last_panel; panel++)
        VARIANT(run_panel)(p, panel, panel + 1 < last_panel, first_row, last_row);
}
