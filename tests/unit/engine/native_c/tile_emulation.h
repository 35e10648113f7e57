/* The tile instructions of AMX in C, from Intel's description of them: for machines without.
 *
 * What the instructions refuse with #GP or #UD ends the program here.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A thread's own, as the registers are. */
static __thread struct {
    int configured, rows[8], row_bytes[8];
    uint8_t data[8][16][64];
} tiles;

static long tile_products, tile_configurations;

static void refuse(const char *why)
{
    fprintf(stderr, "tile emulation: %s\n", why);
    exit(3);
}

static void check_tile(int tile)
{
    if (!tiles.configured)
        refuse("tiles are not configured");
    if (tile < 0 || tile > 7 || tiles.rows[tile] == 0)
        refuse("the tile is not configured");
}

static void emulate_configure(const void *from)
{
    const uint8_t *bytes = from;
    if (tiles.configured)
        refuse("tiles of before were not released");
    memset(&tiles.data, 0, sizeof tiles.data);
    if (bytes[0] != 1)
        refuse("the palette is not 1");
    for (int i = 1; i < 16; i++)
        if (bytes[i])
            refuse("start row or reserved bytes are not 0");
    for (int tile = 0; tile < 16; tile++) {
        int row_bytes = bytes[16 + 2 * tile] | bytes[17 + 2 * tile] << 8, rows = bytes[48 + tile];
        if (rows > 16 || row_bytes > 64 || (rows == 0) != (row_bytes == 0))
            refuse("a tile's shape is out of range");
        if (tile >= 8 && rows)
            refuse("palette 1 has eight tiles");
        if (tile < 8) {
            tiles.rows[tile] = rows;
            tiles.row_bytes[tile] = row_bytes;
        }
    }
    tiles.configured = 1;
    __atomic_add_fetch(&tile_configurations, 1, __ATOMIC_RELAXED);
}

static void emulate_zero(int tile)
{
    check_tile(tile);
    memset(tiles.data[tile], 0, sizeof tiles.data[tile]);
}

static void emulate_load(int tile, const void *from, int64_t stride)
{
    check_tile(tile);
    memset(tiles.data[tile], 0, sizeof tiles.data[tile]);
    for (int row = 0; row < tiles.rows[tile]; row++)
        memcpy(tiles.data[tile][row], (const uint8_t *)from + row * stride,
               (size_t)tiles.row_bytes[tile]);
}

static void emulate_store(int tile, void *to, int64_t stride)
{
    check_tile(tile);
    for (int row = 0; row < tiles.rows[tile]; row++)
        memcpy((uint8_t *)to + row * stride, tiles.data[tile][row], (size_t)tiles.row_bytes[tile]);
}

/* TDPBUSD: unsigned bytes of `a` times signed bytes of `b`, added in fours to 32 bits. */
static void emulate_dpbusd(int c, int a, int b)
{
    check_tile(a), check_tile(b), check_tile(c);
    if (a == b || b == c || a == c)
        refuse("tiles are not distinct");
    if (tiles.rows[c] != tiles.rows[a] || tiles.row_bytes[c] != tiles.row_bytes[b] ||
        4 * tiles.rows[b] != tiles.row_bytes[a])
        refuse("shapes do not match");
    for (int m = 0; m < tiles.rows[c]; m++)
        for (int n = 0; n < tiles.row_bytes[c] / 4; n++) {
            int32_t sum;
            memcpy(&sum, tiles.data[c][m] + 4 * n, 4);
            for (int k = 0; k < tiles.row_bytes[a]; k++)
                sum += (int)tiles.data[a][m][k] * (int)(int8_t)tiles.data[b][k / 4][4 * n + k % 4];
            memcpy(tiles.data[c][m] + 4 * n, &sum, 4);
        }
    __atomic_add_fetch(&tile_products, 1, __ATOMIC_RELAXED);
}

static void emulate_release(void)
{
    tiles.configured = 0;
}

#define TILE_CONFIGURE(config) emulate_configure(config)
#define TILE_ZERO(tile) emulate_zero(tile)
#define TILE_LOAD(tile, from, stride) emulate_load(tile, from, (int64_t)(stride))
#define TILE_DPBUSD(sums, x, w) emulate_dpbusd(sums, x, w)
#define TILE_STORE(tile, to, stride) emulate_store(tile, to, (int64_t)(stride))
#define TILE_RELEASE() emulate_release()
