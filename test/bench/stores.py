#!/usr/bin/env python3
"""Throughput into an S3 server and a webhook against plain clients that send
as much to the same server, in turn, and memory with large files.

Sizes come from the environment, see README.md.
"""

import argparse
import concurrent.futures
import datetime
import hashlib
import hmac
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

from lib import connect, note, one, size, sql, wait_status

SIZE_MB = size("SIZE_MB", 2048)
BIG_MB = size("BIG_MB", 1024)
ROWS = size("ROWS", 300_000)
PER_TX = size("PER_TX", 100)
REPEATS = size("REPEATS", 3)
PARALLEL = size("PARALLEL", 8)
PARTS = os.environ.get("PARTS", "s3 large webhook").split()
HERE = os.path.dirname(os.path.abspath(__file__))


class Peak(threading.Thread):
    """Peak of the lane's own memory."""

    def __init__(self):
        super().__init__(daemon=True)
        self.over, self.kb = threading.Event(), 0
        self.conn = connect()
        self.start()

    def run(self):
        while not self.over.wait(0.05):
            for (pid,) in self.conn.execute(
                    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'cdc_sink lane'").fetchall():
                try:
                    with open(f"/proc/{pid}/status", encoding="ascii") as f:
                        found = [line for line in f if line.startswith("RssAnon")]
                except OSError:
                    continue
                if found:
                    self.kb = max(self.kb, int(found[0].split()[1]))

    def finish(self):
        self.over.set()
        self.join()
        self.conn.close()
        return round(self.kb / 1024, 1)


def paused_feed(table, uri, options):
    job = one("SELECT changefeed_sql(%s)",
              f"CREATE CHANGEFEED FOR TABLE {table} INTO '{uri}' WITH initial_scan='no', updated, {options}")
    sql("SELECT changefeed_pause(%s::bigint)", job)
    wait_status(job, "paused", 600)
    return job


def cpu_of(pids):
    """CPU seconds that these processes have used."""
    used = {}
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        used[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


def cpu_of_lane():
    return cpu_of(pid for (pid,) in sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'cdc_sink lane'"))


def run_feed(job):
    """Seconds from resume to the last acknowledgement, and the lane's CPU seconds."""
    peak = Peak()
    before = cpu_of_lane()
    start = time.monotonic()
    sql("SELECT changefeed_resume(%s::bigint)", job)
    if not one("SELECT changefeed_wait(%s::bigint, timeout => '900 s')", job):
        raise SystemExit(f"job {job} is too slow")
    took = time.monotonic() - start
    cpu = sum(used - before.get(pid, 0) for pid, used in cpu_of_lane().items())
    sql("SELECT changefeed_cancel(%s::bigint)", job)
    wait_status(job, "canceled", 600)
    return took, peak.finish(), cpu


# ----------------------------------------------------------------------- S3

ENDPOINT = os.environ.get("CDC_S3_ENDPOINT", "")
HOST = ENDPOINT.split("//")[-1]
KEY, SECRET = os.environ.get("CDC_S3_KEY", ""), os.environ.get("CDC_S3_SECRET", "")
BUCKET = os.environ.get("CDC_S3_BUCKET", "")


def s3(conn, method, path, query="", body=b"", signed=True):
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{date[:8]}/us-east-1/s3/aws4_request"
    body_hash = hashlib.sha256(body).hexdigest() if signed else "UNSIGNED-PAYLOAD"
    headers = {"host": HOST, "x-amz-content-sha256": body_hash, "x-amz-date": date}
    canonical = "\n".join([method, urllib.parse.quote(path), query]
                          + [f"{k}:{v}" for k, v in sorted(headers.items())]
                          + ["", ";".join(sorted(headers)), body_hash])
    text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + SECRET).encode()
    for piece in scope.split("/"):
        key = hmac.new(key, piece.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={KEY}/{scope},"
                                f"SignedHeaders={';'.join(sorted(headers))},Signature={signature}")
    conn.request(method, urllib.parse.quote(path) + ("?" + query if query else ""), body, headers)
    answer = conn.getresponse()
    data = answer.read()
    if answer.status >= 300:
        raise SystemExit(f"{method} {path}: {answer.status} {data[:300]}")
    return data.decode()


def s3_list(prefix):
    conn = http.client.HTTPConnection(HOST)
    found, token = [], ""
    while True:
        query = {"list-type": "2", "prefix": prefix}
        if token:
            query["continuation-token"] = token
        text = s3(conn, "GET", f"/{BUCKET}", urllib.parse.urlencode(sorted(query.items()), quote_via=urllib.parse.quote))
        for piece in text.split("<Contents>")[1:]:
            found.append((piece.split("<Key>")[1].split("<")[0], int(piece.split("<Size>")[1].split("<")[0])))
        if "<IsTruncated>true" not in text:
            return found
        token = text.split("<NextContinuationToken>")[1].split("<")[0]


def s3_remove(prefix):
    conn = http.client.HTTPConnection(HOST)
    for key, _ in s3_list(prefix):
        s3(conn, "DELETE", f"/{BUCKET}/{key}")


def plain_puts(sizes, prefix, data, signed):
    """Seconds for as many objects of these sizes, so many at a time."""
    local = threading.local()

    def put(job):
        number, length = job
        if not hasattr(local, "conn"):
            local.conn = http.client.HTTPConnection(HOST)
        s3(local.conn, "PUT", f"/{BUCKET}/{prefix}/{number:06d}", body=view[:length], signed=signed)

    view = memoryview(data)
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(put, enumerate(sizes)))
    return time.monotonic() - start


def s3_uri(path, **params):
    params = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT": ENDPOINT, **params}
    return f"s3://{BUCKET}/{path}?" + urllib.parse.urlencode(params)


def wide_table(name, megabytes):
    """About 2 kB a row that do not compress, 100 rows a transaction."""
    sql(f"CREATE TABLE {name} (id bigint PRIMARY KEY, b text)")
    sql(f"ALTER TABLE {name} ALTER b SET STORAGE PLAIN")
    sql(f"""CREATE PROCEDURE {name}_fill(n bigint) LANGUAGE plpgsql AS $$
            DECLARE text_of text := (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 60) i);
            BEGIN
                FOR t IN 0 .. n / 100 - 1 LOOP
                    INSERT INTO {name} SELECT t * 100 + i, md5((t * 100 + i)::text) || text_of
                      FROM generate_series(1, 100) i;
                    COMMIT;
                END LOOP;
            END $$""")
    return megabytes * 1_000_000 // 2050


def bench_s3():
    rows = wide_table("wide", SIZE_MB)
    runs = [(i, signed, paused_feed("wide", s3_uri(f"feed{i}{signed}", **({"AWS_SKIP_CHECKSUM": "false"} if signed else {})),
                                    "min_checkpoint_frequency='500ms'"))
            for i in range(REPEATS) for signed in (False, True)]
    with open(f"{os.environ['CDC_BASE']}/s3/pid", encoding="ascii") as f:
        server = int(f.read())
    note(f"s3: {rows} rows")
    sql("CALL wide_fill(%s::bigint)", rows)
    sql("CHECKPOINT")
    results = {name: {"ours": [], "plain": [], "peak_mb": [], "cpu_per_gb": [], "server_cpu": [], "plain_cpu": [],
                      "plain_server_cpu": []} for name in ("unsigned", "signed")}
    data = os.urandom(40_000_000)
    for i, signed, job in runs:
        name = "signed" if signed else "unsigned"
        result = results[name]
        spent = cpu_of([server])[server]
        took, peak, cpu = run_feed(job)
        spent = cpu_of([server])[server] - spent
        sizes = [s for _, s in s3_list(f"feed{i}{signed}/")]
        total = sum(sizes) / 1e6
        s3_remove(f"feed{i}{signed}/")
        result["ours"].append(total / took)
        result["peak_mb"].append(peak)
        result["cpu_per_gb"].append(cpu * 1000 / total)
        result["server_cpu"].append(spent * 1000 / total)
        result["objects"] = len(sizes)
        before = os.times()
        spent = cpu_of([server])[server]
        took = plain_puts(sizes, f"plain{i}{signed}", data, signed)
        spent = cpu_of([server])[server] - spent
        after = os.times()
        s3_remove(f"plain{i}{signed}/")
        result["plain"].append(total / took)
        result["plain_cpu"].append((after.user + after.system - before.user - before.system) * 1000 / total)
        result["plain_server_cpu"].append(spent * 1000 / total)
        note(f"s3, bodies {name}: {total:.0f} MB in {len(sizes)} objects, MB/s (CPU seconds of a GB, and the "
             f"server's): ours {result['ours'][-1]:.0f} ({result['cpu_per_gb'][-1]:.2f}, "
             f"{result['server_cpu'][-1]:.2f}), plain {result['plain'][-1]:.0f} ({result['plain_cpu'][-1]:.2f}, "
             f"{result['plain_server_cpu'][-1]:.2f}), peak {peak} MB")
    sql("DROP TABLE wide")
    for result in results.values():
        result["ratio"] = statistics.median(result["ours"]) / statistics.median(result["plain"])
    return results


def bench_large():
    rows = wide_table("large", BIG_MB)
    job = paused_feed("large", s3_uri("large", file_size="256MB"), "min_checkpoint_frequency='1m'")
    gz = paused_feed("large", s3_uri("largegz", file_size="256MB"),
                     "min_checkpoint_frequency='1m', compression='zstd'")
    note(f"large: {rows} rows")
    sql("CALL large_fill(%s::bigint)", rows)
    result = {}
    for name, feed in (("large", job), ("largegz", gz)):
        took, peak, _ = run_feed(feed)
        sizes = [s for _, s in s3_list(name + "/")]
        result[name] = {"peak_mb": peak, "largest_mb": max(sizes) / 1e6, "objects": len(sizes), "seconds": took}
        note(f"{name}: largest object {max(sizes) / 1e6:.0f} MB, peak of the lane {peak} MB, {took:.0f} s")
        s3_remove(name + "/")
    sql("DROP TABLE large")
    return result


# ------------------------------------------------------------------ webhook

def bench_webhook():
    folder = tempfile.mkdtemp()
    os.makedirs(f"{folder}/bodies")
    subprocess.run([sys.executable, f"{HERE}/../env/webhook_server.py", "init", folder], check=True)
    server = subprocess.Popen([sys.executable, f"{HERE}/webhook_sink.py", folder])
    try:
        while not os.path.exists(f"{folder}/port"):
            time.sleep(0.05)
        with open(f"{folder}/port", encoding="ascii") as f:
            port = f.read()
        import base64
        with open(f"{folder}/ca.pem", "rb") as f:
            ca = urllib.parse.quote(base64.b64encode(f.read()).decode())
        sql("CREATE TABLE hook (id bigint PRIMARY KEY, a int, b text, c timestamptz)")
        options = "webhook_sink_config='{\"Flush\": {\"Messages\": 100, \"Frequency\": \"1s\"}}'"
        feeds = [paused_feed("hook", f"webhook-https://127.0.0.1:{port}/{i}?ca_cert={ca}", options)
                 for i in range(REPEATS + 1)]
        note(f"webhook: {ROWS} rows")
        sql("""CREATE PROCEDURE hook_fill(n bigint, step bigint) LANGUAGE plpgsql AS $$
            BEGIN
                FOR t IN 0 .. (n - 1) / step LOOP
                    INSERT INTO hook SELECT i, mod(i, 1000), repeat(md5(i::text), 3), now()
                      FROM generate_series(t * step + 1, least((t + 1) * step, n)) i;
                    COMMIT;
                END LOOP;
            END $$""")
        sql("CALL hook_fill(%s::bigint, %s::bigint)", ROWS, PER_TX)
        sql("CHECKPOINT")
        open(f"{folder}/record", "w", encoding="ascii").close()
        run_feed(feeds[0])              # what it sends is what the client sends
        os.unlink(f"{folder}/record")
        names = sorted(os.listdir(f"{folder}/bodies"))
        with open(f"{folder}/curl", "w", encoding="ascii") as f:
            f.write("\nnext\n".join(
                f'url = "https://127.0.0.1:{port}/plain"\ndata-binary = "@{folder}/bodies/{name}"\n'
                f'header = "Content-Type: application/json"\nheader = "Expect:"\n'
                f'cacert = "{folder}/ca.pem"\nsilent\noutput = "/dev/null"' for name in names))
        result = {"ours": [], "plain": [], "cpu": [], "plain_cpu": [], "server_cpu": [], "plain_server_cpu": [],
                  "requests": len(names)}
        for job in feeds[1:]:
            spent = cpu_of([server.pid])[server.pid]
            took, _, cpu = run_feed(job)
            spent = cpu_of([server.pid])[server.pid] - spent
            result["ours"].append(ROWS / took)
            result["cpu"].append(cpu * 1e6 / ROWS)
            result["server_cpu"].append(spent * 1e6 / ROWS)
            before = os.times()
            spent = cpu_of([server.pid])[server.pid]
            start = time.monotonic()
            subprocess.run(["curl", "--parallel", "--parallel-max", "16", "-s", "-K", f"{folder}/curl"],
                           check=True, stdout=subprocess.DEVNULL)
            result["plain"].append(ROWS / (time.monotonic() - start))
            spent = cpu_of([server.pid])[server.pid] - spent
            after = os.times()
            cpu = after.children_user + after.children_system - before.children_user - before.children_system
            result["plain_cpu"].append(cpu * 1e6 / ROWS)
            result["plain_server_cpu"].append(spent * 1e6 / ROWS)
            note(f"webhook: {len(names)} requests, rows/s (CPU seconds of a million, and the server's): "
                 f"ours {result['ours'][-1]:.0f} ({result['cpu'][-1]:.2f}, {result['server_cpu'][-1]:.2f}), "
                 f"plain {result['plain'][-1]:.0f} ({cpu * 1e6 / ROWS:.2f}, {spent * 1e6 / ROWS:.2f})")
    finally:
        server.kill()
        server.wait()
    sql("DROP TABLE hook")
    sql("DROP PROCEDURE hook_fill")
    result["ratio"] = statistics.median(result["ours"]) / statistics.median(result["plain"])
    return result


parser = argparse.ArgumentParser()
parser.add_argument("--out", default=".")
args = parser.parse_args()
sql("CREATE EXTENSION IF NOT EXISTS cdc_sink")
results = {"at": datetime.datetime.now().isoformat(timespec="seconds"), "load": os.getloadavg()}
for part in PARTS:
    results[part] = {"s3": bench_s3, "large": bench_large, "webhook": bench_webhook}[part]()
name = os.path.join(args.out, "stores-" + results["at"].replace(":", "") + ".json")
with open(name, "w", encoding="utf-8") as out:
    json.dump(results, out, indent=1)
print(json.dumps(results, indent=1))
