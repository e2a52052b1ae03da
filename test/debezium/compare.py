#!/usr/bin/env python3
"""What the comparison with Debezium's connector needs of Python.

  compare.py configs                             names in configs.json
  compare.py properties NAME KAFKA PORT DIR      the connector's settings
  compare.py statement NAME KAFKA                our changefeed of the same settings
  compare.py pack RAW                            kcat -J's output, normalised
  compare.py exact RAW RAW                       of one run: positions and times
  compare.py diff NAME THEIRS OURS               packed files: differences that
                                                 differences.json does not name

A packed file is one JSON object: "schemas", each once, and "topics", each a
list of [key, value, headers].  What differs from run to run (times, positions,
transaction ids) is replaced: kinds of values stay, so that a missing member or
a null shows.
"""
import gzip
import hashlib
import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

# members of "source" and of the envelope that differ from run to run
RUN = {"ts_ms", "ts_us", "ts_ns", "lsn", "txId", "xmin", "commit_lsn"}
LONG = 200

# headers that tell which process of the connector sent a message
CONTEXT = "__debezium.context."


class Num(str):
    """A number, as its text."""


def configs():
    with open(os.path.join(HERE, "configs.json")) as f:
        return json.load(f)


def properties(name, kafka, port, folder):
    conf = configs()[name]
    props = {
        "debezium.sink.type": "kafka",
        "debezium.sink.kafka.producer.bootstrap.servers": kafka,
        "debezium.sink.kafka.producer.key.serializer": "org.apache.kafka.common.serialization.StringSerializer",
        "debezium.sink.kafka.producer.value.serializer": "org.apache.kafka.common.serialization.StringSerializer",
        "debezium.source.connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "debezium.source.offset.storage.file.filename": folder + "/offsets.dat",
        "debezium.source.offset.flush.interval.ms": "0",
        "debezium.source.database.hostname": "127.0.0.1",
        "debezium.source.database.port": port,
        "debezium.source.database.user": "postgres",
        "debezium.source.database.password": "unused",
        "debezium.source.database.dbname": name,
        "debezium.source.topic.prefix": name,
        "debezium.source.plugin.name": "pgoutput",
        "debezium.source.slot.name": "dbz_" + name,
        "debezium.source.skipped.operations": "none",
        "debezium.source.schema.exclude.list": "cdc_sink",
        "debezium.source.message.prefix.include.list": "note",
        "debezium.format.key": "json",
        "debezium.format.value": "json",
        "debezium.format.header": "json",
        "debezium.format.header.schemas.enable": "false",
        "debezium.format.key.schemas.enable": str(conf["schemas"]).lower(),
        "debezium.format.value.schemas.enable": str(conf["schemas"]).lower(),
        "quarkus.http.port": "0",
        "quarkus.log.console.json": "false",
        "quarkus.log.level": "INFO",
    }
    for key, value in conf.get("format", {}).items():
        props["debezium.format.key." + key] = value
        props["debezium.format.value." + key] = value
    for key, value in conf["connector"].items():
        props["debezium.source." + key] = value
    for key, value in props.items():
        print("%s=%s" % (key, value))


def statement(name, kafka):
    conf = configs()[name]
    settings = {"topic.prefix": name, "key.converter.schemas.enable": conf["schemas"],
                "value.converter.schemas.enable": conf["schemas"], "message.prefix.include.list": "note"}
    for key, value in list(conf["connector"].items()) + list(conf.get("format", {}).items()):
        if key != "table.exclude.list":
            settings[key] = value
    if name == "schemas":
        settings["replace.null.with.default"] = "true"
    skip = conf["connector"].get("table.exclude.list", "").split(",")
    print("""SELECT 'SELECT changefeed_sql($s$CREATE CHANGEFEED FOR TABLE ' || string_agg(format('%%I.%%I', nspname, relname), ', ') ||
    ' INTO ''kafka://%s?topic_prefix=ours.'' WITH envelope = ''debezium'', schema_change_policy = ''nobackfill'', truncate = ''emit'', debezium_config = ''%s''$s$)'
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
 WHERE relkind = 'r' AND nspname IN ('public', 'inv') AND nspname || '.' || relname <> ALL ('{%s}')
\\gexec""" % (kafka, json.dumps(settings).replace("'", "''"), ",".join(skip)))


def decode(text):
    """JSON with the text of numbers kept."""
    return json.loads(text, parse_int=Num, parse_float=Num, parse_constant=Num)


def encode(v):
    if isinstance(v, Num):
        return str(v)
    if isinstance(v, dict):
        return "{" + ", ".join(json.dumps(k, ensure_ascii=False) + ": " + encode(x) for k, x in v.items()) + "}"
    if isinstance(v, list):
        return "[" + ", ".join(map(encode, v)) + "]"
    return json.dumps(v, ensure_ascii=False)


class Packer:
    def __init__(self):
        self.schemas = []
        self.index = {}
        self.topics = {}

    def schema(self, s):
        text = encode(s)
        if text not in self.index:
            self.index[text] = len(self.schemas)
            self.schemas.append(s)
        return Num(self.index[text])

    def txn(self, s):
        return "xid:lsn" if re.match(r"[0-9]+:[0-9]+$", s) else s

    def payload(self, v, inner=False):
        if isinstance(v, str) and not isinstance(v, Num) and len(v) > LONG:
            return "%d bytes, %s" % (len(v), hashlib.sha256(v.encode()).hexdigest()[:16])
        if isinstance(v, list):
            if len(v) > LONG:
                return "%d elements, %s" % (len(v), hashlib.sha256(encode(v).encode()).hexdigest()[:16])
            return [self.payload(x, True) for x in v]
        if not isinstance(v, dict):
            return v
        out = {}
        for k, x in v.items():
            if k in RUN and isinstance(x, Num) and not inner:
                x = Num(len(x)) if k.startswith("ts_") else Num(0)
            elif k == "sequence" and isinstance(x, str) and not inner:
                x = "sequence" if x.count('"') == 4 else x
            elif k == "source" and not inner:
                x = self.payload(x)
            elif k == "transaction" and isinstance(x, dict) and not inner:
                x = dict(x, id=self.txn(x["id"]))
            else:
                x = self.payload(x, True)
            out[k] = x
        return out

    def part(self, text):
        if text is None:
            return None
        v = decode(text)
        if isinstance(v, dict) and set(v) == {"schema", "payload"}:
            return {"schema": self.schema(v["schema"]), "payload": self.top(v["payload"])}
        return self.top(v)

    def top(self, v):
        if isinstance(v, dict) and "status" in v and "event_count" in v:
            return dict(self.payload(v), id=self.txn(v["id"]))
        if isinstance(v, dict) and set(v) == {"id"} and ":" in str(v["id"]):
            return {"id": self.txn(v["id"])}
        return self.payload(v)

    def add(self, m):
        h = m.get("headers") or []
        headers = {h[i]: self.part(h[i + 1]) for i in range(0, len(h), 2) if not h[i].startswith(CONTEXT)}
        self.topics.setdefault(m["topic"], []).append([self.part(m.get("key")), self.part(m["payload"]), headers])

    def write(self, f):
        f.write('{"schemas": [\n')
        f.write(",\n".join(encode(s) for s in self.schemas))
        f.write('\n], "topics": {\n')
        f.write(",\n".join(json.dumps(t) + ": [\n" + ",\n".join(encode(m) for m in ms) + "\n]"
                           for t, ms in sorted(self.topics.items())))
        f.write("\n}}\n")


def pack(path):
    packer = Packer()
    with open(path, encoding="utf-8", errors="surrogateescape") as f:
        for line in f:
            packer.add(json.loads(line))
    return packer


def exact(theirs, ours):
    """Two raw files of one run: positions, transactions and times are equal."""
    def events(path):
        topics = {}
        with open(path, encoding="utf-8", errors="surrogateescape") as f:
            for line in f:
                m = json.loads(line)
                v = json.loads(m["payload"]) if m["payload"] is not None else {}
                v = v.get("payload", v) if "source" not in v else v
                if v.get("status") == "BEGIN":
                    begin = (v["id"], v["ts_ms"])
                elif v.get("status") == "END" and v["event_count"] > 0:
                    topics.setdefault(m["topic"], []).append(begin + (v["id"], v["ts_ms"]))
                elif "source" in v:
                    s = v["source"]
                    if v["op"] == "m" and s["txId"] is None:
                        # the time is that of its reading
                        topics.setdefault(m["topic"], []).append((s["lsn"], json.loads(s["sequence"])[1]))
                    elif v["op"] != "r":
                        topics.setdefault(m["topic"], []).append(
                            (v["op"], s["lsn"], s["txId"], s["ts_ms"], s["ts_us"], s["ts_ns"],
                             json.loads(s["sequence"])[1], v.get("transaction")))
        return topics
    a, b = events(theirs), events(ours)
    bad = compared = 0
    for topic in sorted(set(a) & set(b)):
        for x, y in zip(a[topic], b[topic]):
            compared += 1
            if x != y:
                bad += 1
                print("%s: %s, ours %s" % (topic, x, y))
    print("%d events: positions, transactions and times are equal in %d" % (compared, compared - bad))
    return 1 if bad else 0


def load(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as f:
        d = decode(f.read())
    schemas = d["schemas"]

    def part(v):
        if isinstance(v, dict) and set(v) == {"schema", "payload"}:
            return {"schema": schemas[int(v["schema"])], "payload": v["payload"]}
        return v
    topics = {t: [[part(k), part(v), h] for k, v, h in ms] for t, ms in d["topics"].items()}
    return {t: transactions(ms) if t.endswith(".transaction") else ms for t, ms in topics.items()}


def transactions(messages):
    """Those with events; data_collections by name, since their order means nothing."""
    kept = []
    for key, value, headers in messages:
        v = value["payload"] if set(value) == {"schema", "payload"} else value
        if v["status"] == "END" and v["event_count"] == "0":
            kept.pop()
            continue
        if v["status"] == "END":
            v["data_collections"] = dict(sorted((c["data_collection"], c["event_count"]) for c in v["data_collections"]))
        kept.append([key, value, headers])
    return kept


def walk(path, a, b, found):
    """Differences of two values: (path, theirs, ours)."""
    if isinstance(a, dict) and isinstance(b, dict):
        for k in list(a) + [k for k in b if k not in a]:
            walk(path + [k], a.get(k, "(absent)"), b.get(k, "(absent)"), found)
        if list(a) != list(b) and set(a) == set(b):
            found.append((path, "order " + ",".join(a), "order " + ",".join(b)))
    elif isinstance(a, list) and isinstance(b, list) and path and path[-1] == "fields":
        walk(path, {f["field"]: f for f in a}, {f["field"]: f for f in b}, found)
    elif type(a) is not type(b) or a != b:
        found.append((path, a, b))


def diff(name, theirs, ours):
    with open(os.path.join(HERE, "differences.json"), encoding="utf-8") as f:
        known = json.load(f)
    a, b = load(theirs), load(ours)
    bad = 0
    for topic in sorted(set(a) | set(b)):
        short = topic.split(".", 1)[1]
        x, y = a.get(topic, []), b.get(topic, [])
        if any("topic" in k and re.search(k["topic"], short) for k in known):
            continue
        if len(x) != len(y):
            print("%s: %d messages, ours %d" % (topic, len(x), len(y)))
            bad += 1
        for i in range(min(len(x), len(y))):
            found = []
            walk_message(short, x[i], y[i], found)
            for path, v, w in found:
                text = "/".join(path)
                for k in known:
                    if "path" in k and re.search(k["path"], text) and re.search(k.get("config", ""), name) \
                            and re.search(k.get("theirs", ""), encode(v)) \
                            and re.search(k.get("ours", ""), encode(w)):
                        break
                else:
                    bad += 1
                    print("%s %d: %s: %s, ours %s" % (name, i, text, encode(v)[:200], encode(w)[:200]))
    return 1 if bad else 0


def walk_message(short, x, y, found):
    for part, a, b in zip(("key", "value", "headers"), x, y):
        walk([short, part], a, b, found)


def main():
    cmd = sys.argv[1]
    if cmd == "configs":
        print("\n".join(configs()))
    elif cmd == "properties":
        properties(*sys.argv[2:])
    elif cmd == "statement":
        statement(*sys.argv[2:])
    elif cmd == "exact":
        sys.exit(exact(*sys.argv[2:]))
    elif cmd == "diff":
        sys.exit(diff(*sys.argv[2:]))
    elif cmd == "pack":
        pack(sys.argv[2]).write(sys.stdout)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
