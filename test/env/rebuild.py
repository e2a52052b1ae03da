#!/usr/bin/env python3
"""A reader of a feed's files, as the layout promises them to readers.

rebuild.py DIR JOURNAL [PREFIX]
    goes through the files in the order of their names and at each RESOLVED
    file compares the tables as the files give them with the tables as they
    were at that moment.  Prints one line for each complaint, and at the end
    "N resolved, M rows, K transactions, T of them before the last".

JOURNAL is what triggers wrote in the very transactions: one JSON object in
each line, {"n", "tx", "tab", "key", "row"}, row null for a delete.  Each
transaction also inserted its number into the table "mark", which the feed
sends: its message tells the stamp of the transaction, which nobody but the
feed knows.  What was there before the feed has the stamp of the scan.
PREFIX is what topic_prefix put before the tables' names.
"""
import gzip
import json
import os
import re
import sys

DATA = re.compile(r"(\d{33})-([0-9a-f]{16})-(\d+)-(\d+)-([0-9a-f]{8})-(.+)-([0-9a-f]+)\.ndjson(\.gz|\.zst)?$")
RESOLVED = re.compile(r"\d{33}\.RESOLVED$")


def stamp(text):
    wall, logical = text.split(".")
    return int(wall), int(logical)


def read(path, ext):
    with open(path, "rb") as f:
        data = f.read()
    if ext == ".gz":
        data = gzip.decompress(data)
    elif ext == ".zst":
        import zstandard
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data.decode()


def names(folder):
    def look():
        return {os.path.relpath(os.path.join(where, f), folder)
                for where, _, files in os.walk(folder) for f in files if not f.startswith(".")}

    # a listing of a folder at work may miss what came while it was made: what
    # a RESOLVED file stands for was there before it, so it is in a later one
    resolved = {name for name in look() if RESOLVED.search(name)}
    found = {name for name in look() if not RESOLVED.search(name)} | resolved
    return sorted(found, key=lambda name: name.encode())


def load(folder, prefix):
    """All files in order: ("rows", [...]) or ("resolved", stamp)."""
    for name in names(folder):
        base = os.path.basename(name)
        m = RESOLVED.search(base)
        if m:
            with open(os.path.join(folder, name)) as f:
                yield name, None, stamp(json.load(f)["resolved"])
            continue
        m = DATA.match(base)
        if not m or not m[6].startswith(prefix):
            print("unexpected file", name)
            continue
        rows = []
        for line in read(os.path.join(folder, name), m[8]).splitlines():
            msg = json.loads(line)
            rows.append((stamp(msg["updated"]), m[6][len(prefix):], json.dumps(msg["key"]), msg["after"]))
        yield name, rows, None


class Tables:
    def __init__(self):
        self.rows = {}

    def apply(self, table, key, row):
        if row is None:
            self.rows.pop((table, key), None)
        else:
            self.rows[(table, key)] = row

    def differences(self, other):
        for key in sorted(self.rows.keys() | other.rows.keys()):
            if self.rows.get(key) != other.rows.get(key):
                yield "%s %s: files say %s, was %s" % (*key, self.rows.get(key), other.rows.get(key))


def main():
    folder, journal_file = sys.argv[1:3]
    files = list(load(folder, sys.argv[3] if len(sys.argv) > 3 else ""))
    stamps = {}
    for _, rows, _ in files:
        for updated, table, key, after in rows or ():
            if table == "mark":
                if stamps.setdefault(after["tx"], updated) != updated:
                    print("transaction", after["tx"], "has two stamps")

    with open(journal_file) as f:
        journal = [json.loads(line) for line in f]
    txs = {entry["tx"] for entry in journal}
    # files of a folder at work may know more than the journal, which is older
    known = min((updated for tx, updated in stamps.items() if tx not in txs), default=None)
    # what one transaction did to a row is in the order of the journal
    todo = sorted((stamps[e["tx"]], e["n"], e) for e in journal if e["tx"] in stamps)
    todo.reverse()

    seen, was, waiting = Tables(), Tables(), []
    resolved, complaints, nrows, last = 0, 0, 0, (0, 0)
    for name, rows, r in files:
        if rows is not None:
            nrows += len(rows)
            for row in rows:
                if row[0] <= last:
                    print("%s: %s %s at %s, resolved is %s" % (name, *row[1:3], row[0], last))
                    complaints += 1
            waiting += [row for row in rows if row[1] != "mark"]
            continue
        if known is not None and r >= known:
            break
        resolved, last = resolved + 1, max(last, r)
        # stable: messages of one stamp stay in the order they were written
        for updated, table, key, after in sorted((row for row in waiting if row[0] <= r), key=lambda row: row[0]):
            seen.apply(table, key, after)
        waiting = [row for row in waiting if row[0] > r]
        while todo and todo[-1][0] <= r:
            entry = todo.pop()[2]
            was.apply(entry["tab"], json.dumps(entry["key"]), entry["row"])
        if seen.rows != was.rows:
            for text in list(seen.differences(was))[:3]:
                print("at %s: %s" % (name, text))
            complaints += 1
        if complaints > 5:
            break
    print("%d resolved, %d rows, %d transactions, %d of them before the last"
          % (resolved, nrows, len(txs), sum(stamps.get(tx, last + (1,)) <= last for tx in txs)))


if __name__ == "__main__":
    main()
