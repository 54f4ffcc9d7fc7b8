"""One save or load of one file by boto3's transfer manager: prints `SECONDS PEAK_MIB`. `scripts/bench-s3` runs it."""
import os, resource, sys, time

import boto3

operation, name, file = sys.argv[1:4]
env = {key[len("SVC_SEAWEEDFS_"):]: value for key, value in os.environ.items() if key.startswith("SVC_SEAWEEDFS_")}
client = boto3.client("s3", endpoint_url=env["ENDPOINT"], region_name=env["REGION"],
                      aws_access_key_id=env["ACCESS_KEY"], aws_secret_access_key=env["SECRET_KEY"])
started = time.perf_counter()
if operation == "save":
    client.upload_file(file, env["BUCKET"], name)
else:
    client.download_file(env["BUCKET"], name, file)
seconds = time.perf_counter() - started
print(f"{seconds:.3f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}")
