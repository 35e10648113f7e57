/* Every instruction set against plain C, without Python: the same bits from all of them.
 *
 * Built for another architecture, it runs in an emulator. With EMULATE_NEW, AMX's tiles are
 * emulated in C, and AVX-VNNI's instruction is AVX-512's of the same meaning.
 *
 * Prints one line for each instruction set that ran, and a digest of plain C's results, which is
 * the same on every machine. Ends with 1 at the first difference.
 */

#include <stdio.h>

#if defined(EMULATE_NEW)
#include "tile_emulation.h"
#define VNNI_BY_AVX512 1
#endif
#include "variants.h"

#include "multiply.h"

enum { MOST = 1 << 16, BEHIND = 33 };

static uint64_t state, digest;
static long comparisons;

static uint32_t any(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

/* From -8 to 8, exact in every arithmetic. */
static void fill(float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)((int32_t)(any() % 65536) - 32768) / 4096.0f;
}

static void fill_bytes(void *bytes, int64_t count, int least, int most)
{
    for (int64_t i = 0; i < count; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)(least + (int)(any() % (uint32_t)(most - least + 1)));
}

static void compare(const char *name, const char *what, const void *plain, const void *other,
                    int64_t bytes)
{
    comparisons++;
    if (memcmp(plain, other, (size_t)bytes) == 0)
        return;
    printf("%s differs from plain in %s\n", name, what);
    exit(1);
}

static void add_to_digest(const void *bytes, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        digest = (digest ^ ((const uint8_t *)bytes)[i]) * 1099511628211u;
}

static void check_norms(const struct kernels *one)
{
    static float x[4100], weight[4100], bias[4100], normed[2][4100], onto[2][4100];
    static uint8_t values[2][4100];
    const int64_t widths[] = {2, 15, 16, 17, 64, 1000, 4100};
    for (size_t w = 0; w < 7; w++)
        for (int norm = LAYER_NORM; norm <= RMS_NORM; norm++) {
            int64_t width = widths[w];
            float scale[2];
            fill(x, width), fill(weight, width), fill(bias, width), fill(onto[0], width);
            memcpy(onto[1], onto[0], sizeof onto[0]);
            for (int i = 0; i < 2; i++) {
                const struct kernels *k = i ? one : &variants[0];
                k->normalise(x, normed[i], width, norm, 1e-5f, weight,
                             norm == LAYER_NORM ? bias : NULL);
                scale[i] = k->quantize(normed[i], values[i], width);
                k->finish(normed[i], width, 0.37f, bias, onto[i]);
            }
            compare(one->name, "normalise", normed[0], normed[1], 4 * width);
            compare(one->name, "quantize", values[0], values[1], width);
            compare(one->name, "a scale", &scale[0], &scale[1], 4);
            compare(one->name, "finish", onto[0], onto[1], 4 * width);
            add_to_digest(onto[0], 4 * width), add_to_digest(values[0], width);
        }
}

static void check_attention(const struct kernels *one)
{
    static float q[160], bias[80], scratch[400], out[2][160], own[160];
    static uint16_t cache[2][2][80 * 160];
    const int64_t widths[] = {8, 31, 32, 48, 64, 100, 128, 160};
    for (size_t w = 0; w < 8; w++)
        for (int64_t length = 1; length <= 80; length += 13) {
            int64_t width = widths[w], bytes = 2 * 80 * width;
            fill(q, width), fill(own, width), fill(bias, length);
            for (int64_t i = 0; i < 80 * width; i++) {
                float pair[2];
                fill(pair, 2);
                store_plain(pair, cache[0][0] + i, 1), store_plain(pair + 1, cache[0][1] + i, 1);
            }
            memcpy(cache[1], cache[0], sizeof cache[0]);
            for (int i = 0; i < 2; i++) {
                const struct kernels *k = i ? one : &variants[0];
                k->store(own, cache[i][0] + (length - 1) * width, width);
                k->attend(q, cache[i][0], cache[i][1], length, width, 0.11f, bias, scratch, out[i]);
            }
            compare(one->name, "store", cache[0][0], cache[1][0], bytes);
            compare(one->name, "attend", out[0], out[1], 4 * width);
            add_to_digest(out[0], 4 * width);
        }
}

static void check_adapters(const struct kernels *one)
{
    static uint8_t x[1028];
    static int8_t down[24 * 1028], up[24 * 1028];
    static float rank_scale[24], up_scale[24], down_bias[24], up_bias[1028], z[24], out[2][1028];
    static int32_t down_sum[24];
    const int64_t widths[] = {20, 64, 200, 1028};
    for (size_t w = 0; w < 4; w++)
        for (int activation = IDENTITY; activation <= RELU; activation++) {
            int64_t width = widths[w];
            fill_bytes(x, width, 1, 255);
            fill_bytes(down, 24 * width, -127, 127), fill_bytes(up, 24 * width, -127, 127);
            fill(down_bias, 24), fill(up_bias, width), fill(out[0], width);
            for (int r = 0; r < 24; r++) {
                rank_scale[r] = up_scale[r] = (float)(1 + any() % 100) / 65536.0f;
                down_sum[r] = 0;
                for (int64_t i = 0; i < width; i++)
                    down_sum[r] += down[r * width + i];
            }
            memcpy(out[1], out[0], sizeof out[0]);
            struct adapter adapter = {width, width, 21, down, up, down_sum, rank_scale,
                                      activation ? down_bias : NULL, up_scale,
                                      activation ? up_bias : NULL, activation};
            for (int i = 0; i < 2; i++)
                (i ? one : &variants[0])->adapt(&adapter, x, 0.21f, z, out[i]);
            compare(one->name, "adapt", out[0], out[1], 4 * width);
            add_to_digest(out[0], 4 * width);
        }
}

static void check_ranking(const struct kernels *one)
{
    static float logits[3000], values[2][4];
    int64_t tokens[2][4], blocked[1] = {7};
    for (int64_t count = 5; count < 3000; count = 3 * count + 1) {
        struct ranking row[2];
        fill(logits, count);
        for (int i = 0; i < 2; i++) {
            row[i] = (struct ranking){-INFINITY, 0.0f, 0, 4, values[i], tokens[i]};
            for (int place = 0; place < 4; place++)
                values[i][place] = -INFINITY, tokens[i][place] = 0;
            (i ? one : &variants[0])->rank_tokens(logits, count, 0, &row[i], blocked, 1);
        }
        compare(one->name, "a sum", &row[0].sum, &row[1].sum, 4);
        compare(one->name, "values", values[0], values[1], sizeof values[0]);
        compare(one->name, "tokens", tokens[0], tokens[1], sizeof tokens[0]);
        add_to_digest(&row[0].sum, 4);
    }
}

static void check_product(const struct kernels *one, int64_t rows, int64_t steps, int64_t width,
                          int add)
{
    static uint8_t x[MOST];
    static int8_t weight[MOST] __attribute__((aligned(64)));
    static float scale[100], bias[100], row_scale[300 + BEHIND], out[2][(300 + BEHIND) * 100];
    static int32_t offset[100];
    int64_t panels = (width + PANEL - 1) / PANEL;
    if (rows * steps * 4 > MOST || panels * steps * STEP > MOST)
        exit(4);
    fill_bytes(x, rows * steps * 4, any() % 2 ? 250 : 1, 255);
    fill_bytes(weight, panels * steps * STEP, any() % 2 ? 120 : -127, 127);
    fill(scale, width), fill(bias, width), fill(row_scale, rows);
    fill(out[0], (rows + BEHIND) * width); /* rows behind the product must stay as they are */
    memcpy(out[1], out[0], sizeof out[0]);
    for (int64_t o = 0; o < width; o++) {
        offset[o] = 0;
        for (int64_t k = 0; k < 4 * steps; k++)
            offset[o] += 128 * weight[((o / PANEL * steps + k / 4) * PANEL + o % PANEL) * 4 + k % 4];
    }
    struct product product = {x, 4 * steps, steps, width, weight, scale, rows % 2 ? bias : NULL,
                              row_scale, offset, NULL, width, add};
    for (int i = 0; i < 2; i++) {
        product.out = out[i];
        if (multiply(i ? one : &variants[0], &product, rows, 2))
            exit(5);
    }
    compare(one->name, "a product", out[0], out[1], 4 * (rows + BEHIND) * width);
    add_to_digest(out[0], 4 * rows * width);
}

static void check_products(const struct kernels *one)
{
    const int64_t rows[] = {1, 2, 3, 4, 5, 6, 13, 15, 16, 17, 32, 33, 65};
    const int64_t steps[] = {1, 15, 16, 49};
    const int64_t widths[] = {1, 32, 48, 100};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (size_t s = 0; s < sizeof steps / sizeof *steps; s++)
            for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
                check_product(one, rows[r], steps[s], widths[w], (int)(any() % 2));
    check_product(one, 300, 16, 40, 0); /* rows in blocks; one thread runs a part of a block */
}

static int runs_here(const struct kernels *one)
{
#if defined(EMULATE_NEW)
    if (strcmp(one->name, "amx") == 0 || strcmp(one->name, "avxvnni") == 0)
        return avx512_supported();
#endif
    return one->supported();
}

int main(void)
{
    if (find_variant("plain") != &variants[0] || find_variant("avx9") ||
        find_variant(best_variant()->name) != best_variant())
        return 6;
    for (size_t i = 0; i < VARIANTS; i++) {
        const struct kernels *one = &variants[i];
        if (!runs_here(one))
            continue;
        state = 42, digest = 14695981039346656037u, comparisons = 0;
        check_norms(one), check_attention(one), check_adapters(one), check_ranking(one);
        check_products(one);
        printf("%s %ld\n", one->name, comparisons);
    }
#if defined(EMULATE_NEW)
    printf("tile-products %ld\ntile-configurations %ld\n", tile_products, tile_configurations);
#endif
    printf("digest %016llx\n", (unsigned long long)digest);
    return 0;
}
