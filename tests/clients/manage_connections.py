"""Manages a connection by boto3, as behind API Gateway.

    manage_connections.py URL KEY ID     URL is that of the listener for backends, with a stage
"""

import datetime
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

URL, KEY, ID = sys.argv[1:]


def client(secret):
    return boto3.client(
        "apigatewaymanagementapi",
        endpoint_url=URL,
        region_name="eu-central-1",
        aws_access_key_id="tidegate",
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )


def refused(call):
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    raise AssertionError("not refused")


own = client(KEY)
own.post_to_connection(ConnectionId=ID, Data="grüße".encode())
found = own.get_connection(ConnectionId=ID)
assert found["Identity"] == {"SourceIp": "127.0.0.1", "UserAgent": "tests/1"}, found
age = datetime.datetime.now(datetime.timezone.utc) - found["ConnectedAt"]
assert age < datetime.timedelta(minutes=5), found
assert found["LastActiveAt"] >= found["ConnectedAt"] - datetime.timedelta(seconds=1), found

wrong = client(KEY + "x")
assert refused(lambda: wrong.get_connection(ConnectionId=ID))[1] == 403
large = b"x" * (128 * 1024)
own.post_to_connection(ConnectionId=ID, Data=large)
code, status = refused(lambda: own.post_to_connection(ConnectionId=ID, Data=large + b"x"))
assert (code, status) == ("PayloadTooLargeException", 413), (code, status)

own.delete_connection(ConnectionId=ID)
for call in [
    lambda: own.post_to_connection(ConnectionId="L0SM9cOFvHcCIhw=", Data=b"x"),
    lambda: own.get_connection(ConnectionId="a/b?c=%20"),
]:
    assert refused(call) == ("GoneException", 410), refused(call)
try:
    own.delete_connection(ConnectionId="00000000-0.0.1")
except own.exceptions.GoneException:
    print("done")
