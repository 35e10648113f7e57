/* Products on AMX: a tile instruction multiplies 16 rows of 64 bytes with 16 outputs at once.
 *
 * A panel is what the instruction wants to read: 16 steps of it, every other cache line, are the
 * 16 rows of 64 bytes that hold four inputs of 16 outputs each. Up to 32 rows and a panel are
 * four tiles of sums. What is left of an input that is no multiple of 64 runs in AVX-512.
 *
 * Rows that are fewer than FEWEST_TILE_ROWS take the AVX-512 vectors: most of a tile would be
 * empty, and memory is the limit.
 *
 * Tiles are configured once for a range of panels and released at its end, so that no other code
 * runs, and no thread is switched, with tiles to save.
 */

/* Not measured: no machine with AMX was there when this was written. */
enum { FEWEST_TILE_ROWS = 16, TILE_ROWS = 16, TILE_BYTES = 64 };

#if !defined(TILE_DPBUSD) /* a test defines all of them */
#define TILE_CONFIGURE(config) _tile_loadconfig(config)
#define TILE_ZERO(tile) _tile_zero(tile)
#define TILE_LOAD(tile, from, stride) _tile_loadd(tile, from, stride)
#define TILE_DPBUSD(sums, x, w) _tile_dpbusd(sums, x, w)
#define TILE_STORE(tile, to, stride) _tile_stored(tile, to, stride)
#define TILE_RELEASE() _tile_release()
#endif

/* What LDTILECFG reads. */
struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

static void set_tile(struct tile_config *config, int tile, int rows)
{
    config->rows[tile] = (uint8_t)rows;
    config->row_bytes[tile] = rows ? TILE_BYTES : 0;
}

/* Tiles 0 to 3 hold sums: upper and lower rows, left and right outputs; 4 and 5 hold rows of
 * activations, 6 and 7 weights. */
static void configure_tiles(int count)
{
    struct tile_config config = {.palette = 1};
    int upper = count < TILE_ROWS ? count : TILE_ROWS, lower = count - upper;
    for (int half = 0; half < 2; half++) {
        set_tile(&config, half, upper);
        set_tile(&config, 2 + half, lower);
        set_tile(&config, 6 + half, TILE_ROWS);
    }
    set_tile(&config, 4, upper);
    set_tile(&config, 5, lower);
    /* Compilers believe that the instruction reads 8 of the 64 bytes, and drop the others. */
    __asm__ volatile("" : : "r"(&config) : "memory");
    TILE_CONFIGURE(&config);
}

/* `count` rows, as configured, through the whole blocks of 16 steps of a panel. */
static void sum_tiles(int count, const uint8_t *x, int64_t x_stride, const int8_t *panel,
                      int64_t blocks, int32_t sums[][PANEL])
{
    const size_t stride = sizeof sums[0];
    const int both = count > TILE_ROWS;
    TILE_ZERO(0);
    TILE_ZERO(1);
    if (both) {
        TILE_ZERO(2);
        TILE_ZERO(3);
    }
    for (int64_t block = 0; block < blocks; block++, x += TILE_BYTES, panel += 16 * STEP) {
        TILE_LOAD(6, panel, STEP);
        TILE_LOAD(7, panel + TILE_BYTES, STEP);
        TILE_LOAD(4, x, x_stride);
        TILE_DPBUSD(0, 4, 6);
        TILE_DPBUSD(1, 4, 7);
        if (both) {
            TILE_LOAD(5, x + TILE_ROWS * x_stride, x_stride);
            TILE_DPBUSD(2, 5, 6);
            TILE_DPBUSD(3, 5, 7);
        }
    }
    TILE_STORE(0, sums[0], stride);
    TILE_STORE(1, sums[0] + 16, stride);
    if (both) {
        TILE_STORE(2, sums[TILE_ROWS], stride);
        TILE_STORE(3, sums[TILE_ROWS] + 16, stride);
    }
}

/* The last `steps` steps, fewer than fill a tile, added to sums. */
static void add_tail(int count, const uint8_t *x, int64_t x_stride, const int8_t *panel,
                     int64_t steps, int32_t sums[][PANEL])
{
    for (int r = 0; r < count; r++) {
        __m512i low = _mm512_loadu_si512(sums[r]), high = _mm512_loadu_si512(sums[r] + 16);
        for (int64_t k = 0; k < steps; k++) {
            int32_t four;
            memcpy(&four, x + r * x_stride + 4 * k, 4);
            __m512i inputs = _mm512_set1_epi32(four);
            low = _mm512_dpbusd_epi32(low, inputs, _mm512_loadu_si512(panel + k * STEP));
            high = _mm512_dpbusd_epi32(high, inputs, _mm512_loadu_si512(panel + k * STEP + 64));
        }
        _mm512_storeu_si512(sums[r], low);
        _mm512_storeu_si512(sums[r] + 16, high);
    }
}

/* Blocks of one size, so that one configuration serves them all: the last one begins early, and
 * finishes only the rows that are still open. */
static void run_tiles(const struct product *p, int64_t panel, int size, int64_t first_row,
                      int64_t last_row)
{
    const int8_t *weight = p->weight + panel * p->steps * STEP;
    int64_t blocks = p->steps / 16, tail = p->steps % 16;
    for (int64_t open = first_row; open < last_row; open += size) {
        int64_t row = open + size > last_row ? last_row - size : open;
        int32_t sums[2 * TILE_ROWS][PANEL] __attribute__((aligned(64)));
        const uint8_t *x = p->x + row * p->x_stride;
        sum_tiles(size, x, p->x_stride, weight, blocks, sums);
        if (tail)
            add_tail(size, x + blocks * TILE_BYTES, p->x_stride, weight + blocks * 16 * STEP, tail,
                     sums);
        for (int64_t r = open; r < row + size; r++)
            finish_sums_avx512(p, sums[r - row], panel, r);
    }
}

static void run_panels_amx(const struct product *p, int64_t first_panel, int64_t last_panel,
                           int64_t first_row, int64_t last_row)
{
    int64_t rows = last_row - first_row, most = 2 * TILE_ROWS;
    if (rows < FEWEST_TILE_ROWS) {
        run_panels_avx512(p, first_panel, last_panel, first_row, last_row);
        return;
    }
    int64_t blocks = (rows + most - 1) / most;
    int size = (int)((rows + blocks - 1) / blocks);
    configure_tiles(size);
    for (int64_t panel = first_panel; panel < last_panel; panel++)
        run_tiles(p, panel, size, first_row, last_row);
    TILE_RELEASE();
}
