/* Every instruction set: its functions, whether this machine has it, and which one to take. */

#include "kernels.h"

#define VARIANT(name) name##_plain
#define WIDTH 4
#if defined(__SSE2__)
#include <immintrin.h>
#endif
#include "products_plain.h"
#include "products.h"
#include "rows.h"
#undef VARIANT

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define X86_VARIANTS 1
#undef WIDTH
#define WIDTH 8
#pragma GCC push_options
#pragma GCC target("avx2")
#define VARIANT(name) name##_avx2
#include "products_avx2.h"
#include "products.h"
#include "rows.h"
#undef VARIANT
#pragma GCC pop_options

#if __GNUC__ >= 11
#define NEW_VARIANTS 1
#pragma GCC push_options
#if defined(VNNI_BY_AVX512) /* a test's, where there is no AVX-VNNI */
#pragma GCC target("avx2,avx512f,avx512vl,avx512vnni")
#define VNNI_DPBUSD _mm256_dpbusd_epi32
#else
#pragma GCC target("avx2,avxvnni")
#define VNNI_DPBUSD _mm256_dpbusd_avx_epi32
#endif
#define VARIANT(name) name##_avxvnni
#include "products_avxvnni.h"
#include "products.h"
#include "rows.h"
#undef VARIANT
#pragma GCC pop_options
#endif

#undef WIDTH
#define WIDTH 16
#pragma GCC push_options
#pragma GCC target("avx2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,prefer-vector-width=512")
#define VARIANT(name) name##_avx512
#include "products_avx512.h"
#include "products.h"
#include "rows.h"
#undef VARIANT
#pragma GCC pop_options

#if defined(NEW_VARIANTS)
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,amx-tile,amx-int8")
#include "products_amx.h"
#pragma GCC pop_options
#endif
#endif

#if defined(__aarch64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define NEON_VARIANT 1
#include <arm_neon.h>
#include <sys/auxv.h>
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod")
#define VARIANT(name) name##_neon
#include "products_neon.h"
#include "products.h"
#include "rows.h"
#undef VARIANT
#pragma GCC pop_options
#endif
#undef WIDTH

static int plain_supported(void)
{
    return 1;
}

#if defined(X86_VARIANTS)
__attribute__((constructor)) static void know_the_processor(void)
{
    __builtin_cpu_init();
    hardware_reads_ahead = !__builtin_cpu_is("intel");
}

static int avx2_supported(void)
{
    return __builtin_cpu_supports("avx2");
}

static int avx512_supported(void)
{
    return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

#if defined(NEW_VARIANTS)
#include "tiles_linux.h"

static int avxvnni_supported(void)
{
    return avx2_supported() && __builtin_cpu_supports("avxvnni");
}

static int amx_supported(void)
{
    return avx512_supported() && __builtin_cpu_supports("amx-int8") && tiles_permitted();
}
#endif

#if defined(NEON_VARIANT)
#define DOT_PRODUCTS (1UL << 20) /* HWCAP_ASIMDDP */

static int neon_supported(void)
{
    return (getauxval(AT_HWCAP) & DOT_PRODUCTS) != 0;
}
#endif

#define ROWS_OF(variant)                                                                         \
    .normalise = normalise_##variant, .quantize = quantize_##variant,                            \
    .finish = finish_##variant, .adapt = adapt_##variant, .store = store_##variant,              \
    .attend = attend_##variant, .rank_tokens = rank_tokens_##variant
#define PRODUCTS_OF(variant)                                                                     \
    .name = #variant, .supported = variant##_supported, .run_panels = run_panels_##variant

/* From the slowest to the fastest. */
static const struct kernels variants[] = {
    {PRODUCTS_OF(plain), ROWS_OF(plain)},
#if defined(X86_VARIANTS)
    {PRODUCTS_OF(avx2), ROWS_OF(avx2), .form = CENTRED_SHORTS},
#endif
#if defined(NEW_VARIANTS)
    {PRODUCTS_OF(avxvnni), ROWS_OF(avxvnni)},
#endif
#if defined(X86_VARIANTS)
    {PRODUCTS_OF(avx512), ROWS_OF(avx512)},
#endif
#if defined(NEW_VARIANTS)
    {PRODUCTS_OF(amx), ROWS_OF(avx512), .enable = ask_for_tiles},
#endif
#if defined(NEON_VARIANT)
    {PRODUCTS_OF(neon), ROWS_OF(neon), .form = CENTRED_BYTES},
#endif
};

enum { VARIANTS = sizeof variants / sizeof variants[0] };

static int usable(const struct kernels *variant)
{
    return variant->supported() && (!variant->enable || variant->enable());
}

static const struct kernels *best_variant(void)
{
    size_t i = VARIANTS - 1;
    while (i > 0 && !usable(&variants[i]))
        i--;
    return &variants[i];
}

/* The variant of a name, ready to run; NULL where this machine cannot run it. */
static const struct kernels *find_variant(const char *name)
{
    for (size_t i = 0; i < VARIANTS; i++)
        if (strcmp(variants[i].name, name) == 0)
            return usable(&variants[i]) ? &variants[i] : NULL;
    return NULL;
}
