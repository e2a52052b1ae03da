/*-------------------------------------------------------------------------
 * test_kafka_partition.c
 *		The partitioner that keys go by is that of Java clients.
 *
 * The hashes are those of Apache Kafka's own test of its murmur2.
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
	return failed != 0;
}
