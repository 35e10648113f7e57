/* What the row functions, the products and the Python module share. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define TINY 1e-30f

enum norm { NO_NORM, LAYER_NORM, RMS_NORM };
enum row_form { UNSIGNED_BYTES, CENTRED_BYTES, CENTRED_SHORTS };
enum activation { IDENTITY, RELU, GELU };
enum { LANES = 16, RANK_BLOCK = 256, FEW_ROWS = 4, PANEL = 32, STEP = 4 * PANEL, ROW_BLOCK = 192 };
enum { AHEAD = 4, MOST_TILE = 12, PAIRS = LANES };

/* One adapter at one site of one layer. */
struct adapter {
    int64_t in, out, ranks;
    const int8_t *down, *up;
    const int32_t *down_sum;
    const float *rank_scale, *down_bias, *up_scale, *up_bias;
    int activation;
};

/* The likeliest tokens of one row so far, best first, and its log-sum-exp. */
struct ranking {
    float largest, sum;
    int32_t undefined;
    int64_t keep;
    float *values;
    int64_t *tokens;
};

/* One product, finished: (sum - offset) * scale[out] * row_scale[row] + bias[out].
 *
 * x is unsigned around 128, and offset what the 128 adds to a sum; or x is centred, and there is
 * no offset. */
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

/* The functions of one instruction set. All of them give the same bits. */
struct kernels {
    const char *name;
    int (*supported)(void);
    int (*enable)(void); /* NULL when nothing has to be asked for first */
    enum row_form form;  /* of the activations that products read */
    void (*normalise)(const float *, float *, int64_t, int, float, const float *, const float *);
    float (*quantize)(const float *, uint8_t *, int64_t);
    void (*finish)(float *, int64_t, float, const float *, float *);
    void (*adapt)(const struct adapter *, const uint8_t *, float, float *, float *);
    void (*store)(const float *, uint16_t *, int64_t);
    void (*attend)(const float *, const uint16_t *, const uint16_t *, int64_t, int64_t, float,
                   const float *, float *, float *);
    void (*rank_tokens)(const float *, int64_t, int64_t, struct ranking *, const int64_t *, int64_t);
    void (*run_panels)(const struct product *, int64_t, int64_t, int64_t, int64_t);
};

static void insert(struct ranking *row, float value, int64_t token, const int64_t *blocked,
                   int64_t blocks)
{
    for (int64_t b = 0; b < blocks; b++)
        if (blocked[b] == token)
            return;
    int64_t place = row->keep - 1;
    for (; place > 0 && value > row->values[place - 1]; place--) {
        row->values[place] = row->values[place - 1];
        row->tokens[place] = row->tokens[place - 1];
    }
    row->values[place] = value;
    row->tokens[place] = token;
}

/* Whether the hardware reads a panel ahead by itself when few rows go down it: measured to be so
 * on AMD's processors, and not on Intel's, which read 16 GB/s a core that way and 27 when told. */
static int hardware_reads_ahead = 1;

/* Fetch `lines` cache lines spread evenly over `steps` steps: what is due after one of them. */
INLINE const char *fetch_due(const char *ahead, int64_t lines, int64_t steps, int64_t *due)
{
    for (*due += lines; *due >= steps; *due -= steps, ahead += 64)
        __builtin_prefetch(ahead, 0, 2);
    return ahead;
}
