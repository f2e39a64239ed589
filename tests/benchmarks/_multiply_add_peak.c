/* The most multiply-adds a second of this processor's cores: PEAK_BYTES wide vectors, twelve chains on each thread, nothing from memory.
   Prints billions of multiply-adds of numbers a second, for all threads together. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef NUMBER vector __attribute__((vector_size(PEAK_BYTES)));
#define CHAINS 12
#define ROUNDS 20000000L

static pthread_barrier_t all;

static void *work(void *result)
{
    vector sum[CHAINS], factor, summand;
    for (unsigned i = 0; i < PEAK_BYTES / sizeof(NUMBER); i++) {
        factor[i] = (NUMBER)0.999;
        summand[i] = (NUMBER)1e-3;
        for (int chain = 0; chain < CHAINS; chain++)
            sum[chain][i] = chain + i;
    }
    __asm__ volatile("" : "+x"(factor), "+x"(summand)); /* nothing can be known of them before */
    pthread_barrier_wait(&all);
    for (long round = 0; round < ROUNDS; round++)
#pragma GCC unroll 12
        for (int chain = 0; chain < CHAINS; chain++)
            sum[chain] = sum[chain] * factor + summand;
    for (int chain = 1; chain < CHAINS; chain++)
        sum[0] += sum[chain];
    *(double *)result = sum[0][0];
    return NULL;
}

int main(int count, char **arguments)
{
    int threads = count > 1 ? atoi(arguments[1]) : 1;
    pthread_t thread[threads];
    double result[threads], check = 0;
    struct timespec began, ended;
    pthread_barrier_init(&all, NULL, threads + 1);
    for (int i = 0; i < threads; i++)
        pthread_create(&thread[i], NULL, work, &result[i]);
    clock_gettime(CLOCK_MONOTONIC, &began);
    pthread_barrier_wait(&all);
    for (int i = 0; i < threads; i++) {
        pthread_join(thread[i], NULL);
        check += result[i];
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    double seconds = (ended.tv_sec - began.tv_sec) + 1e-9 * (ended.tv_nsec - began.tv_nsec);
    printf("%.3f %g\n", 1e-9 * threads * ROUNDS * CHAINS * (PEAK_BYTES / sizeof(NUMBER)) / seconds, check);
    return 0;
}
