/*-------------------------------------------------------------------------
 * test_kafka_partition.c
 *		The partitioners that keys go by are those of Java clients (murmur2)
 *		and of Go's (fnv-1a, which CockroachDB uses).
 *
 * The hashes are those of Apache Kafka's own test of its murmur2, and of the
 * published test vectors of FNV-1a in 32 bits.
 *-------------------------------------------------------------------------
 */
/* libs: -lrdkafka */
#include <stdio.h>
#include <stdint.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

static const struct
{
	const char *key;
	int32_t		hash;
}			vectors[] =
{
	{"21", -973932308},
	{"foobar", -790332482},
	{"a-little-bit-long-string", -985981536},
	{"a-little-bit-longer-string", -1486304829},
	{"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
	{"abc", 479470107},
};

static const struct
{
	const char *key;
	uint32_t	hash;
}			fnv_vectors[] =
{
	{"a", 0xe40c292c},
	{"b", 0xe70c2de5},
	{"foobar", 0xbf9cf968},
	{"chongo was here!\n", 0xd49930d5},
};

int
main(void)
{
	static const int counts[] = {1, 2, 3, 12, 1000};
	int			failed = 0;

	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
	{
		for (size_t j = 0; j < sizeof(counts) / sizeof(counts[0]); j++)
		{
			int32_t		want = (vectors[i].hash & 0x7fffffff) % counts[j];
			int32_t		got = rd_kafka_msg_partitioner_murmur2(NULL, vectors[i].key,
															   strlen(vectors[i].key),
															   counts[j], NULL, NULL);

			if (got != want)
			{
				printf("%s of %d: %d, not %d\n", vectors[i].key, counts[j], got, want);
				failed++;
			}
		}
	}
	for (size_t i = 0; i < sizeof(fnv_vectors) / sizeof(fnv_vectors[0]); i++)
	{
		for (size_t j = 0; j < sizeof(counts) / sizeof(counts[0]); j++)
		{
			/* Go: the remainder of the signed number, without its sign */
			int32_t		rest = (int32_t) fnv_vectors[i].hash % counts[j];
			int32_t		want = rest < 0 ? -rest : rest;
			int32_t		got = rd_kafka_msg_partitioner_fnv1a(NULL, fnv_vectors[i].key,
															 strlen(fnv_vectors[i].key),
															 counts[j], NULL, NULL);

			if (got != want)
			{
				printf("%s of %d: %d, not %d\n", fnv_vectors[i].key, counts[j], got, want);
				failed++;
			}
		}
	}
	return failed != 0;
}
