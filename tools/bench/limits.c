/* What one core of this machine can do: multiply-adds in registers, memory read in order, table rows read and written at
   random places. Prints a JSON object. Compiled and run by roofline.py. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__AVX512F__)
#define WIDTH 16
#define CHAINS 24
#elif defined(__AVX2__)
#define WIDTH 8
#define CHAINS 12
#else
#define WIDTH 4
#define CHAINS 12
#endif

typedef float lanes __attribute__((vector_size(WIDTH * 4)));

/* A table row with both moments: 16 numbers each. */
#define ROW_BYTES 192
#define N_ROWS (10 * 1000 * 1000)
/* Distinct rows of a batch. */
#define N_TOUCHED 60000
#define AHEAD 16

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

/* Billions of floating-point operations a second, two for each multiply-add. */
static double fma_rate(float *sink) {
    lanes sums[CHAINS], factor, term;
    for (int i = 0; i < WIDTH; i++) factor[i] = 0.999f, term[i] = 0.001f;
    /* Chains that differ: equal ones would be computed once. */
    for (int c = 0; c < CHAINS; c++)
        for (int i = 0; i < WIDTH; i++) sums[c][i] = (float)rand();
    const long n = 20 * 1000 * 1000;
    double start = now();
    for (long i = 0; i < n; i++)
#pragma GCC unroll 24
        for (int c = 0; c < CHAINS; c++) sums[c] = sums[c] * factor + term;
    double seconds = now() - start;
    for (int c = 0; c < CHAINS; c++) *sink += sums[c][0];
    return 2.0 * WIDTH * CHAINS * n / seconds / 1e9;
}

/* Billions of bytes a second, from 1 GB read in order. */
static double read_rate(const char *memory, size_t bytes, float *sink) {
    lanes sums[8];
    memset(sums, 0, sizeof sums);
    const lanes *from = (const lanes *)memory;
    size_t n = bytes / sizeof(lanes) / 8;
    double start = now();
    for (size_t i = 0; i < n; i++)
#pragma GCC unroll 8
        for (int c = 0; c < 8; c++) sums[c] += from[8 * i + c];
    double seconds = now() - start;
    for (int c = 0; c < 8; c++) *sink += sums[c][0];
    return bytes / seconds / 1e9;
}

/* Milliseconds to add to all numbers of the rows that a batch touches. */
static double row_ms(char *memory, uint32_t *rows, int repetitions) {
    double best = 1e9;
    for (int r = 0; r < repetitions; r++) {
        for (int i = 0; i < N_TOUCHED; i++)
            rows[i] = ((uint64_t)rand() * 2654435761u + rand()) % N_ROWS;
        double start = now();
        for (int i = 0; i < N_TOUCHED; i++) {
            if (i + AHEAD < N_TOUCHED)
                for (int line = 0; line < ROW_BYTES; line += 64)
                    __builtin_prefetch(memory + (size_t)rows[i + AHEAD] * ROW_BYTES + line, 1);
            float *row = (float *)(memory + (size_t)rows[i] * ROW_BYTES);
            for (int k = 0; k < ROW_BYTES / 4; k++) row[k] += 1.0f;
        }
        double ms = (now() - start) * 1e3;
        best = ms < best ? ms : best;
    }
    return best;
}

int main(void) {
    float sink = 0;
    size_t bytes = (size_t)N_ROWS * ROW_BYTES;
    char *memory = aligned_alloc(4096, bytes);
    uint32_t *rows = malloc(N_TOUCHED * sizeof *rows);
    if (!memory || !rows) {
        fprintf(stderr, "limits: 2 GB of memory are needed\n");
        return 1;
    }
    memset(memory, 0, bytes);
    fma_rate(&sink);
    double fma = fma_rate(&sink), reading = read_rate(memory, 1000 * 1000 * 1000, &sink);
    double touched = row_ms(memory, rows, 20);
    printf("{\"gflops\": %.1f, \"read_gb_per_s\": %.2f, \"rows_ms\": %.2f, \"touched_rows\": %d, \"lanes\": %d, \"sink\": %g}\n",
           fma, reading, touched, N_TOUCHED, WIDTH, sink);
    return 0;
}
