/* The permission to use tiles, which Linux gives a process that asks for it. */

#include <sys/syscall.h>
#include <unistd.h>

enum { GET_XCOMP_SUPP = 0x1021, REQ_XCOMP_PERM = 0x1023, XTILE_DATA = 18 };

/* Whether the kernel knows of tiles. */
static int tiles_permitted(void)
{
    uint64_t features = 0;
    return syscall(SYS_arch_prctl, GET_XCOMP_SUPP, &features) == 0 && features >> XTILE_DATA & 1;
}

/* Return whether the process may use tiles from now on; threads that follow may too. */
static int ask_for_tiles(void)
{
    return syscall(SYS_arch_prctl, REQ_XCOMP_PERM, XTILE_DATA) == 0;
}
