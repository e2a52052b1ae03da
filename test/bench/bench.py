#!/usr/bin/env python3
"""Throughput, latency, memory and pgbench's slow-down, on one machine.

Everything that is compared reads the same WAL: slots and paused feeds are made
first, then the workload runs once, then they take turns. Sizes come from the
environment, see README.md.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time

import confluent_kafka
from confluent_kafka.admin import AdminClient

from lib import connect, note, one, size, sql, wait_status

ROWS = size("ROWS", 2_000_000)          # inserted, then updated
PER_TX = size("PER_TX", 100)
REPEATS = size("REPEATS", 3)
BIG_ROWS = size("BIG_ROWS", ROWS)       # in one transaction
PGBENCH_TX = size("PGBENCH_TX", max(1000, ROWS // 20))
LAT_SECONDS = size("LAT_SECONDS", 30)
LAT_RATE = size("LAT_RATE", 500)
SLOW_SECONDS = size("SLOW_SECONDS", 20)
WAIT = size("WAIT_SECONDS", 900)
PARTS = os.environ.get("PARTS", "insert update pgbench big latency slowdown").split()

BROKER = os.environ["CDC_KAFKA"]
BIN, PORT = os.environ["CDC_PGBIN"], os.environ["CDC_PGPORT"]
TICKS = os.sysconf("SC_CLK_TCK")
LZ4 = "kafka_sink_config='{\"Compression\": \"LZ4\"}'"

TABLE = """CREATE TABLE %s (id bigint PRIMARY KEY, a int, b text, c timestamptz,
    d numeric, e jsonb)"""
COLUMNS = """i, (i %% 1000)::int, repeat(md5(i::text), 3) || 'abcd', now(), i * 1.25,
    jsonb_build_object('id', i, 'name', md5(i::text), 'tags', jsonb_build_array('x', 'y', i),
                       'text', repeat(md5((i + 1)::text), 3), 'flag', i %% 2 = 0)"""


# ---------------------------------------------------------------- processes

class Sampler(threading.Thread):
    """Peak RssAnon and CPU seconds of the server processes a query names."""

    def __init__(self, query):
        super().__init__(daemon=True)
        self.query, self.over = query, threading.Event()
        self.peak_kb, self.first, self.last = {}, {}, {}
        self.conn = connect()
        self.sample()

    def pids(self):
        return [r[0] for r in self.conn.execute(self.query) if r[0]]

    def sample(self):
        for pid in self.pids():
            try:
                with open("/proc/%d/status" % pid) as f:
                    rss = [line for line in f if line.startswith("RssAnon")]
                with open("/proc/%d/stat" % pid) as f:
                    fields = f.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            cpu = (int(fields[11]) + int(fields[12])) / TICKS
            self.first.setdefault(pid, cpu)
            self.last[pid] = cpu
            if rss:
                self.peak_kb[pid] = max(self.peak_kb.get(pid, 0), int(rss[0].split()[1]))

    def run(self):
        while not self.over.wait(0.05):
            self.sample()

    def finish(self):
        self.over.set()
        self.join()
        self.sample()
        self.conn.close()
        # a process that came later counts from nothing
        return {"cpu_s": round(sum(c - self.first[p] for p, c in self.last.items()), 2),
                "peak_rss_anon_mb": round(max(self.peak_kb.values(), default=0) / 1024, 1)}


OURS = "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE '%cdc_sink%'"
SENDER = "SELECT active_pid FROM pg_replication_slots WHERE plugin = 'pgoutput'"


# -------------------------------------------------------------------- feeds

def create_feed(tables, uri, options=""):
    """A feed that is paused at the present position."""
    opts = "updated, resolved='1s', initial_scan='no'" + (", " + options if options else "")
    job = one("SELECT changefeed_sql(%s)",
              "CREATE CHANGEFEED FOR TABLE %s INTO '%s' WITH %s" % (tables, uri, opts))
    sql("SELECT changefeed_pause(%s::bigint)", job)
    wait_status(job, "paused")
    return job


def run_feed(job, lsn):
    """Resume, wait until all up to lsn is acknowledged."""
    watch = Sampler(OURS)
    watch.start()
    start = time.monotonic()
    sql("SELECT changefeed_resume(%s::bigint)", job)
    sql("SELECT changefeed_wait(%s::bigint, %s::pg_lsn, make_interval(secs => %s))", job, lsn, WAIT)
    secs = time.monotonic() - start
    result = {"seconds": round(secs, 3), **watch.finish()}
    result["stats"] = sql("SELECT to_jsonb(s) FROM pg_stat_changefeed s WHERE job_id = %s::bigint", job)
    result["stats"] = result["stats"][0][0] if result["stats"] else None
    sql("SELECT changefeed_cancel(%s::bigint)", job)
    wait_status(job, "canceled")
    return result


def run_pgoutput(slot, publication, lsn):
    cmd = [BIN + "/pg_recvlogical", "-h", "127.0.0.1", "-p", PORT, "-U", "postgres", "-d", "postgres",
           "-S", slot, "--start", "-o", "proto_version=1", "-o", "publication_names=" + publication,
           "--endpos", lsn, "--no-loop", "-f", "/dev/null"]
    watch = Sampler(SENDER)
    watch.start()
    start = time.monotonic()
    subprocess.run(cmd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=WAIT)
    secs = time.monotonic() - start
    result = {"seconds": round(secs, 3), **watch.finish()}
    sql("SELECT pg_drop_replication_slot(%s)", slot)
    return result


def topic_counts(prefix):
    """Messages in the topics of a feed, resolved ones included."""
    admin = AdminClient({"bootstrap.servers": BROKER})
    topics = admin.list_topics(timeout=10).topics
    consumer = confluent_kafka.Consumer({"bootstrap.servers": BROKER, "group.id": "bench"})
    total = 0
    for name, meta in topics.items():
        if name.startswith(prefix):
            for part in meta.partitions:
                low, high = consumer.get_watermark_offsets(confluent_kafka.TopicPartition(name, part), timeout=10)
                total += high - low
    consumer.close()
    names = [n for n in topics if n.startswith(prefix)]
    if names:
        for f in admin.delete_topics(names).values():
            f.result()
    return total


# --------------------------------------------------------------- throughput

def throughput(name, tables, rows, work):
    note("%s: %d rows" % (name, rows))
    pub = "bench_" + name
    sql("CREATE PUBLICATION %s FOR TABLE %s" % (pub, tables))
    for i in range(REPEATS):
        sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", "%s_%d" % (pub, i))
    feeds = []
    for i in range(REPEATS):
        feeds.append((create_feed(tables, "null://"),
                      create_feed(tables, "kafka://%s?topic_prefix=%s%d_" % (BROKER, name, i), LZ4)))
    start = one("SELECT pg_current_wal_insert_lsn()")
    work()
    sql("SELECT pg_switch_wal()")
    sql("SELECT pg_logical_emit_message(true, 'bench', 'end')")
    end = one("SELECT pg_current_wal_flush_lsn()")
    wal = int(one("SELECT %s::pg_lsn - %s::pg_lsn", end, start))
    sql("CHECKPOINT")
    runs = []
    for i in range(REPEATS):
        null, kafka = feeds[i]
        runs.append(("pgoutput", run_pgoutput("%s_%d" % (pub, i), pub, end)))
        runs.append(("null", run_feed(null, end)))
        result = run_feed(kafka, end)
        result["messages"] = topic_counts("%s%d_" % (name, i))
        if result["messages"] < rows:
            raise SystemExit("%s: %d messages in Kafka for %d rows" % (name, result["messages"], rows))
        runs.append(("kafka", result))
        for lane, r in runs[-3:]:
            r["rows_per_s"] = round(rows / r["seconds"])
            note("  %-8s %8.2f s %9d rows/s  cpu %6.2f s  RssAnon %6.1f MB"
                 % (lane, r["seconds"], r["rows_per_s"], r["cpu_s"], r["peak_rss_anon_mb"]))
    sql("DROP PUBLICATION %s" % pub)
    out = {"rows": rows, "wal_bytes": wal, "runs": [dict(r, lane=lane) for lane, r in runs]}
    base = None
    for lane in ("pgoutput", "null", "kafka"):
        mine = [r for what, r in runs if what == lane]
        median = statistics.median(r["rows_per_s"] for r in mine)
        base = base or median
        out[lane] = {"rows_per_s": median, "times_pgoutput": round(median / base, 2),
                     "min": min(r["rows_per_s"] for r in mine), "max": max(r["rows_per_s"] for r in mine),
                     "cpu_s": statistics.median(r["cpu_s"] for r in mine),
                     "peak_rss_anon_mb": max(r["peak_rss_anon_mb"] for r in mine)}
    return out


def in_batches(statement, rows):
    """statement for each range of PER_TX ids, a transaction each."""
    sql("""CREATE OR REPLACE PROCEDURE bench_work() LANGUAGE plpgsql AS $$
        BEGIN
            FOR n IN 0 .. %d LOOP
                %s;
                COMMIT;
            END LOOP;
        END $$""" % ((rows - 1) // PER_TX, statement))
    with connect() as conn:
        conn.execute("SET synchronous_commit = off")
        conn.execute("CALL bench_work()")


def work_insert():
    in_batches("INSERT INTO bench SELECT %s FROM generate_series(n::bigint * %d + 1, least((n + 1)::bigint * %d, %d)) i"
               % (COLUMNS.replace("%%", "%"), PER_TX, PER_TX, ROWS), ROWS)


def work_update():
    in_batches("UPDATE bench SET a = a + 1 WHERE id BETWEEN n::bigint * %d + 1 AND (n + 1)::bigint * %d"
               % (PER_TX, PER_TX), ROWS)


def work_big():
    with connect() as conn:
        conn.execute("INSERT INTO big SELECT %s FROM generate_series(1::bigint, %d) i"
                     % (COLUMNS.replace("%%", "%"), BIG_ROWS))


def pgbench(*args):
    cmd = [BIN + "/pgbench", "-h", "127.0.0.1", "-p", PORT, "-U", "postgres", "-n", *args, "postgres"]
    p = subprocess.run(cmd, check=True, capture_output=True, text=True)
    tps = [float(line.split("=")[1].split()[0]) for line in p.stdout.splitlines() if line.startswith("tps")]
    return tps[-1] if tps else None


PGBENCH_TABLES = "pgbench_accounts, pgbench_tellers, pgbench_branches"


def work_pgbench():
    os.environ["PGOPTIONS"] = "-c synchronous_commit=off"
    try:
        pgbench("-c", "4", "-j", "1", "-t", str(max(1, PGBENCH_TX // 4)))
    finally:
        del os.environ["PGOPTIONS"]


# ------------------------------------------------------------------ latency

def percentiles(values):
    values = sorted(values)

    def at(q):
        return round(values[min(len(values) - 1, int(q * len(values)))], 2)
    return {"p50": at(.50), "p95": at(.95), "p99": at(.99), "max": round(values[-1], 2), "count": len(values)}


def latency():
    """Steady single-row transactions, fsync on: milliseconds to the consumer.

    stamp: since `updated`, the commit's own time; statement: since the clock
    was read in the INSERT, so with its execution and the commit's flush.
    """
    note("latency: %d tx/s for %d s" % (LAT_RATE, LAT_SECONDS))
    sql("DROP TABLE IF EXISTS lat")
    sql("CREATE TABLE lat (id bigserial PRIMARY KEY, t double precision, b text)")
    job = one("SELECT changefeed_sql(%s)",
              "CREATE CHANGEFEED FOR TABLE lat INTO 'kafka://%s?topic_prefix=lat_' "
              "WITH updated, resolved='1s', initial_scan='no', %s" % (BROKER, LZ4))
    insert = "INSERT INTO lat (t, b) VALUES (extract(epoch FROM clock_timestamp()), repeat('x', 300))"
    sql(insert)
    sql("SELECT changefeed_wait(%s::bigint, timeout => '60 s')", job)
    consumer = confluent_kafka.Consumer({"bootstrap.servers": BROKER, "group.id": "lat", "fetch.wait.max.ms": 100,
                                         "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe(["lat_lat"])
    end = time.time() + 30
    while not consumer.poll(0.5):
        if time.time() > end:
            raise SystemExit("no message within 30 s")
    script = os.path.join(os.environ.get("TMPDIR", "/tmp"), "cdc_sink_lat.%d.sql" % os.getpid())
    with open(script, "w") as f:
        f.write(insert + ";\n")
    load = subprocess.Popen([BIN + "/pgbench", "-h", "127.0.0.1", "-p", PORT, "-U", "postgres", "-n", "-c", "4", "-j", "1",
                             "-R", str(LAT_RATE), "-T", str(LAT_SECONDS), "-f", script, "postgres"],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    got, quiet = [], 0
    while quiet < 20:
        messages = consumer.consume(500, 0.002) if load.poll() is None else consumer.consume(500, 0.1)
        now = time.time()
        rows = [(now, m.value()) for m in messages if not m.error() and m.key()]
        got += rows
        # resolved messages, which have no key, never cease
        quiet = quiet + 1 if load.poll() is not None and not rows else 0
    tps = [line for line in load.communicate()[0].splitlines() if line.startswith("tps")]
    os.unlink(script)
    consumer.close()
    sql("SELECT changefeed_cancel(%s::bigint)", job)
    wait_status(job, "canceled")
    topic_counts("lat_")
    stamp, statement = [], []
    for now, value in got:
        v = json.loads(value)
        statement.append((now - v["after"]["t"]) * 1000)
        stamp.append((now - int(v["updated"].split(".")[0]) / 1e9) * 1000)
    # the first second is the load finding its pace
    skip = min(LAT_RATE, len(stamp) // 10)
    out = {"rate": LAT_RATE, "tps": tps[-1] if tps else None, "fsync": one("SHOW fsync"),
           "stamp_ms": percentiles(stamp[skip:]), "statement_ms": percentiles(statement[skip:])}
    note("  %s" % out)
    return out


# --------------------------------------------------------------- slow-down

def slowdown():
    """pgbench's tps without a feed, with one into null and one into Kafka."""
    note("pgbench slow-down: %d s a run" % SLOW_SECONDS)
    runs = {"none": [], "null": [], "kafka": []}
    for i in range(REPEATS):
        for lane in runs:
            job = None
            if lane != "none":
                uri = "null://" if lane == "null" else "kafka://%s?topic_prefix=slow%d_" % (BROKER, i)
                job = one("SELECT changefeed_sql(%s)", "CREATE CHANGEFEED FOR TABLE %s INTO '%s' WITH updated, "
                          "resolved='1s', initial_scan='no'" % (PGBENCH_TABLES, uri))
                time.sleep(1)
            sql("CHECKPOINT")
            tps = pgbench("-c", "4", "-j", "1", "-T", str(SLOW_SECONDS))
            runs[lane].append(round(tps, 1))
            if job:
                behind = one("SELECT pg_current_wal_flush_lsn()")
                start = time.monotonic()
                sql("SELECT changefeed_wait(%s::bigint, %s::pg_lsn, make_interval(secs => %s))", job, behind, WAIT)
                note("  %-6s %8.1f tps, caught up after %.2f s" % (lane, tps, time.monotonic() - start))
                sql("SELECT changefeed_cancel(%s::bigint)", job)
                wait_status(job, "canceled")
                if lane == "kafka":
                    topic_counts("slow%d_" % i)
            else:
                note("  %-6s %8.1f tps" % (lane, tps))
    base = statistics.median(runs["none"])
    return {lane: {"tps": statistics.median(v), "runs": v,
                   "slower_percent": round(100 * (1 - statistics.median(v) / base), 1)} for lane, v in runs.items()}


# ---------------------------------------------------------------------------

def cpu_model():
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.machine()


def table(result):
    lines = ["%-10s %-9s %10s %8s %20s %8s %9s" % ("workload", "lane", "rows/s", "x pgout", "min-max", "cpu s", "RssAnon")]
    for name in ("insert", "update", "pgbench", "big"):
        for lane in ("pgoutput", "null", "kafka"):
            if name in result:
                r = result[name][lane]
                lines.append("%-10s %-9s %10d %8.2f %20s %8.2f %6.1f MB"
                             % (name, lane, r["rows_per_s"], r["times_pgoutput"], "%d-%d" % (r["min"], r["max"]),
                                r["cpu_s"], r["peak_rss_anon_mb"]))
    if "latency" in result:
        for what in ("stamp_ms", "statement_ms"):
            p = result["latency"][what]
            lines.append("latency %-12s p50 %.2f  p95 %.2f  p99 %.2f  max %.2f ms, %d messages at %d tx/s"
                         % (what[:-3], p["p50"], p["p95"], p["p99"], p["max"], p["count"], result["latency"]["rate"]))
    if "slowdown" in result:
        for lane, r in result["slowdown"].items():
            lines.append("pgbench with feed: %-6s %9.1f tps  %5.1f %% slower" % (lane, r["tps"], r["slower_percent"]))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default=".")
    args = parser.parse_args()
    result = {"when": datetime.datetime.now().isoformat(timespec="seconds"),
              "postgres": one("SHOW server_version"), "cpus": os.cpu_count(), "cpu": cpu_model(),
              "settings": {k: one("SHOW " + k) for k in ("fsync", "shared_buffers", "logical_decoding_work_mem",
                                                         "wal_level", "max_wal_size", "autovacuum")}}
    sql("CREATE EXTENSION IF NOT EXISTS cdc_sink")
    sql("DROP TABLE IF EXISTS bench, big")
    sql(TABLE % "bench")
    sql(TABLE % "big")
    # A slot waits for its first transactions; a feed that stays keeps the lane open meanwhile.
    keep = create_feed("bench", "null://")
    if "pgbench" in PARTS or "slowdown" in PARTS:
        subprocess.run([BIN + "/pgbench", "-h", "127.0.0.1", "-p", PORT, "-U", "postgres", "-i", "-s", "10", "-q", "postgres"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if "insert" in PARTS:
        result["insert"] = throughput("insert", "bench", ROWS, work_insert)
    elif "update" in PARTS:
        work_insert()
    if "update" in PARTS:
        sql("VACUUM bench")
        result["update"] = throughput("update", "bench", ROWS, work_update)
    if "pgbench" in PARTS:
        result["pgbench"] = throughput("pgbench", PGBENCH_TABLES, 3 * 4 * max(1, PGBENCH_TX // 4), work_pgbench)
    if "big" in PARTS:
        result["big"] = throughput("big", "big", BIG_ROWS, work_big)
    sql("SELECT changefeed_cancel(%s::bigint)", keep)
    if "latency" in PARTS:
        result["latency"] = latency()
    if "slowdown" in PARTS:
        result["slowdown"] = slowdown()
    path = os.path.join(args.out, "result-%s.json" % datetime.datetime.now().strftime("%Y%m%d-%H%M%S"))
    with open(path, "w") as f:
        json.dump(result, f, indent=1, default=str)
    print(table(result))
    print("written to " + path)


if __name__ == "__main__":
    main()
