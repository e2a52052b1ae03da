"""What the measurements share: the database they talk to, and their sizes."""

import os
import sys
import time

import psycopg


def size(name, default):
    return int(os.environ.get(name, default))


def connect(**kw):
    return psycopg.connect(os.environ["CDC_DSN"], autocommit=True, **kw)


db = connect()


def sql(text, *args):
    cur = db.execute(text, args or None)
    return cur.fetchall() if cur.description else None


def one(text, *args):
    return sql(text, *args)[0][0]


def note(text):
    print("-- " + text, file=sys.stderr, flush=True)


def wait_status(job, status, seconds=60):
    end = time.time() + seconds
    while time.time() < end:
        if one("SELECT status FROM changefeed_jobs WHERE job_id = %s::bigint", job) == status:
            return
        time.sleep(0.02)
    raise SystemExit(f"job {job} did not become {status}")
