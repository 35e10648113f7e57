/* Products on AMX: a tile instruction multiplies 16 rows of 64 bytes with 16 outputs at once.
 *
 * A panel is what the instruction wants to read: 16 steps of it, every other cache line, are the
 * 16 rows of 64 bytes that hold four inputs of 16 outputs each. Up to 32 rows and a panel are
 * four tiles of sums. What is left of an input that is no multiple of 64 runs in AVX-512.
 *
 * Rows that are fewer than FEWEST_TILE_ROWS take the AVX-512 vectors: most of a tile would be
 * empty, and memory is the limit.
 *
 * The next panel is fetched meanwhile, and the sums of the last block are finished: both would
 * otherwise keep the tiles waiting (1.4 times as long for 64 rows of 1024 inputs).
 *
 * Tiles are configured once for a range of panels and released at its end, so that no other code
 * runs, and no thread is switched, with tiles to save.
 */

/* Where weights come from memory, both are equally fast for 6 to 10 rows; from a cache, tiles are
 * faster from 6 rows on (1.7 times at 12). */
enum { FEWEST_TILE_ROWS = 6, TILE_ROWS = 16, TILE_BYTES = 64 };

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

/* Sums of one panel that are still to be finished. */
struct unfinished {
    const int32_t (*sums)[PANEL];
    int64_t panel, row, last_row;
};

static void finish_up_to(const struct product *p, struct unfinished *left, int64_t count)
{
    for (; count > 0 && left->row < left->last_row; count--, left->row++, left->sums++)
        finish_sums_avx512(p, left->sums[0], left->panel, left->row);
}

/* What goes on while tiles are multiplied. */
struct meanwhile {
    const char *ahead;       /* where to fetch from */
    int64_t lines;           /* cache lines to fetch */
    struct unfinished *left; /* sums to finish */
};

/* Rows, as configured, through the whole blocks of 16 steps of a panel. */
INLINE void sum_tiles_of(const int both, const struct product *p, const uint8_t *x,
                         const int8_t *panel, int64_t blocks, const struct meanwhile *meanwhile,
                         int32_t sums[][PANEL])
{
    const size_t stride = sizeof sums[0];
    const char *ahead = meanwhile->ahead;
    int64_t due = 0, finished = (2 * TILE_ROWS + blocks - 1) / (blocks ? blocks : 1);
    TILE_ZERO(0);
    TILE_ZERO(1);
    if (both) {
        TILE_ZERO(2);
        TILE_ZERO(3);
    }
    for (int64_t block = 0; block < blocks; block++, x += TILE_BYTES, panel += 16 * STEP) {
        TILE_LOAD(6, panel, STEP);
        TILE_LOAD(7, panel + TILE_BYTES, STEP);
        TILE_LOAD(4, x, p->x_stride);
        TILE_DPBUSD(0, 4, 6);
        TILE_DPBUSD(1, 4, 7);
        if (both) {
            TILE_LOAD(5, x + TILE_ROWS * p->x_stride, p->x_stride);
            TILE_DPBUSD(2, 5, 6);
            TILE_DPBUSD(3, 5, 7);
        }
        ahead = fetch_due(ahead, meanwhile->lines, blocks, &due);
        finish_up_to(p, meanwhile->left, finished);
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
 * finishes only the rows that are still open. The sums of one block are finished while the next
 * one is multiplied, so `buffers` are two, in turns. */
static void run_tiles(const struct product *p, int64_t panel, int more, int size,
                      int64_t first_row, int64_t last_row,
                      int32_t buffers[2][2 * TILE_ROWS][PANEL], struct unfinished *left)
{
    int64_t bytes = p->steps * STEP, blocks = p->steps / 16, tail = p->steps % 16;
    int64_t tiles = (last_row - first_row + size - 1) / size;
    const int8_t *weight = p->weight + panel * bytes;
    struct meanwhile meanwhile = {(const char *)weight + bytes,
                                  more ? (bytes / 64 + tiles - 1) / tiles : 0, left};
    for (int64_t open = first_row; open < last_row; open += size) {
        int64_t row = open + size > last_row ? last_row - size : open;
        int32_t(*sums)[PANEL] = left->sums >= buffers[1] ? buffers[0] : buffers[1];
        const uint8_t *x = p->x + row * p->x_stride;
        if (size > TILE_ROWS)
            sum_tiles_of(1, p, x, weight, blocks, &meanwhile, sums);
        else
            sum_tiles_of(0, p, x, weight, blocks, &meanwhile, sums);
        meanwhile.ahead += meanwhile.lines * 64;
        if (tail)
            add_tail(size, x + blocks * TILE_BYTES, p->x_stride, weight + blocks * 16 * STEP, tail,
                     sums);
        finish_up_to(p, left, 2 * TILE_ROWS);
        *left = (struct unfinished){sums + (open - row), panel, open, row + size};
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
    int32_t buffers[2][2 * TILE_ROWS][PANEL] __attribute__((aligned(64)));
    struct unfinished left = {buffers[0], 0, 0, 0};
    configure_tiles(size);
    for (int64_t panel = first_panel; panel < last_panel; panel++)
        run_tiles(p, panel, panel + 1 < last_panel, size, first_row, last_row, buffers, &left);
    TILE_RELEASE();
    finish_up_to(p, &left, 2 * TILE_ROWS);
}
