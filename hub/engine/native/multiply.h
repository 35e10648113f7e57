/* A whole product: what threads share, and the form of activations that a variant reads. */

/* Few rows: threads share the panels. Many rows: they share the blocks of rows. */
static void share_product(const struct kernels *kernels, const struct product *p, int64_t rows,
                          int threads)
{
    int64_t panels = (p->width + PANEL - 1) / PANEL;
    int64_t blocks = (rows + ROW_BLOCK - 1) / ROW_BLOCK;
    if (blocks < 2 * threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int64_t part = 0; part < threads; part++)
            kernels->run_panels(p, panels * part / threads, panels * (part + 1) / threads, 0, rows);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t block = 0; block < blocks; block++) {
        int64_t first = block * ROW_BLOCK;
        int64_t last = rows - first < ROW_BLOCK ? rows : first + ROW_BLOCK;
        kernels->run_panels(p, 0, panels, first, last);
    }
}

/* Write x - 128 in the form that the products read, without the gaps between rows. */
static void centre_rows(const struct product *p, int64_t rows, int threads, enum row_form form,
                        void *centred)
{
    int64_t width = 4 * p->steps;
#pragma omp parallel for num_threads(threads) schedule(static) if (rows >= 2 * FEW_ROWS)
    for (int64_t row = 0; row < rows; row++) {
        const uint8_t *x = p->x + row * p->x_stride;
        if (form == CENTRED_SHORTS)
            for (int64_t i = 0; i < width; i++)
                ((int16_t *)centred)[row * width + i] = (int16_t)(x[i] - 128);
        else
            for (int64_t i = 0; i < width; i++)
                ((int8_t *)centred)[row * width + i] = (int8_t)(x[i] - 128);
    }
}

/* Return whether memory was missing. */
static int multiply(const struct kernels *kernels, const struct product *p, int64_t rows,
                    int threads)
{
    struct product own = *p;
    if (rows <= 0)
        return 0;
    if (kernels->form == UNSIGNED_BYTES) {
        share_product(kernels, p, rows, threads);
        return 0;
    }
    own.x_stride = 4 * p->steps * (kernels->form == CENTRED_SHORTS ? 2 : 1);
    uint8_t *centred = malloc((size_t)(rows * own.x_stride));
    if (centred == NULL)
        return 1;
    centre_rows(p, rows, threads, kernels->form, centred);
    own.x = centred;
    own.offset = NULL;
    share_product(kernels, &own, rows, threads);
    free(centred);
    return 0;
}
