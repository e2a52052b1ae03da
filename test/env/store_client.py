#!/usr/bin/env python3
"""The stores' own clients (boto3, google-cloud-storage, azure-storage-blob),
for tests that look at what we have brought there.

store_client.py make KIND       makes the bucket or container
store_client.py get KIND PREFIX DIR
                                brings all objects below PREFIX into DIR, under
                                the names that are left without it
store_client.py sas KIND RIGHTS
                                prints a shared access signature (azure)
store_client.py begun KIND PREFIX
                                prints those that are not complete, too (azure)
store_client.py list KIND PREFIX
                                prints these names

KIND is s3, gcs, azure or web; where it is and who we are comes from the
environment: STORE_PORT, STORE_BUCKET, STORE_KEY, STORE_ACCOUNT (gcs, azure,
web), S3_ENDPOINT, S3_KEY, S3_SECRET, STORE_BUCKET (s3).
"""
import json
import os
import sys
import urllib.parse
import urllib.request

ENV = os.environ


class S3:
    def __init__(self):
        import boto3
        from botocore.config import Config
        self.s3 = boto3.client("s3", endpoint_url=ENV["S3_ENDPOINT"], region_name="us-east-1",
                               aws_access_key_id=ENV["S3_KEY"], aws_secret_access_key=ENV["S3_SECRET"],
                               config=Config(s3={"addressing_style": "path"}))
        self.bucket = ENV["STORE_BUCKET"]

    def names(self, prefix):
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            for entry in page.get("Contents", []):
                yield entry["Key"]

    def read(self, name):
        return self.s3.get_object(Bucket=self.bucket, Key=name)["Body"].read()


class Gcs:
    def __init__(self):
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage
        self.client = storage.Client(project="test", credentials=AnonymousCredentials(),
                                     client_options={"api_endpoint": "http://127.0.0.1:" + ENV["STORE_PORT"]})
        self.bucket = self.client.bucket(ENV["STORE_BUCKET"])

    def make(self):
        self.client.create_bucket(ENV["STORE_BUCKET"])

    def names(self, prefix):
        return (blob.name for blob in self.client.list_blobs(self.bucket, prefix=prefix))

    def read(self, name):
        return self.bucket.blob(name).download_as_bytes(raw_download=True)


class Azure:
    def __init__(self):
        from azure.storage.blob import BlobServiceClient
        service = BlobServiceClient("http://127.0.0.1:%s/%s" % (ENV["STORE_PORT"], ENV["STORE_ACCOUNT"]),
                                    credential=ENV["STORE_KEY"], api_version="2025-05-05")
        self.container = service.get_container_client(ENV["STORE_BUCKET"])

    def make(self):
        self.container.create_container()

    def names(self, prefix):
        return (blob.name for blob in self.container.list_blobs(name_starts_with=prefix))

    def begun(self, prefix):
        return [blob.name for blob in self.container.list_blobs(name_starts_with=prefix, include=["uncommittedblobs"])]

    def read(self, name):
        return self.container.download_blob(name).readall()

    def sas(self, permissions):
        from datetime import datetime, timedelta, timezone
        from azure.storage.blob import generate_container_sas
        return generate_container_sas(ENV["STORE_ACCOUNT"], ENV["STORE_BUCKET"], account_key=ENV["STORE_KEY"],
                                      permission=permissions, expiry=datetime.now(timezone.utc) + timedelta(hours=1))


class Web:
    def __init__(self):
        self.base = "http://127.0.0.1:" + ENV["STORE_PORT"] + "/dav/"

    def get(self, path):
        request = urllib.request.Request(self.base + urllib.parse.quote(path))
        if "STORE_USER" in ENV:
            import base64
            request.add_header("Authorization", "Basic " + base64.b64encode(ENV["STORE_USER"].encode()).decode())
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    def names(self, prefix):
        return (prefix + name for name in json.loads(self.get(prefix)))

    def read(self, name):
        return self.get(name)


def main():
    cmd, kind = sys.argv[1:3]
    store = {"s3": S3, "gcs": Gcs, "azure": Azure, "web": Web}[kind]()
    if cmd == "make":
        store.make()
    elif cmd == "sas":
        print(store.sas(sys.argv[3]))
    elif cmd == "begun":
        print("\n".join(store.begun(sys.argv[3])))
    elif cmd == "list":
        for name in sorted(store.names(sys.argv[3])):
            print(name[len(sys.argv[3]):])
    else:
        prefix, folder = sys.argv[3:5]
        # a listing made while files come may miss some that are older than
        # others in it: RESOLVED files are taken from one, all others from the next
        names = [name for name in store.names(prefix) if name.endswith(".RESOLVED")]
        names += [name for name in store.names(prefix) if not name.endswith(".RESOLVED")]
        for name in names:
            target = os.path.join(folder, name[len(prefix):])
            if os.path.exists(target):
                continue
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as f:
                f.write(store.read(name))


if __name__ == "__main__":
    main()
