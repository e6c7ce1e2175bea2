"""`python -m services.auditlog`: the consumer as a process."""

import sys

from sagas.hosting import host_consumer
from services.auditlog.consumer import auditlog
from services.contracts import STREAM

if __name__ == "__main__":
    sys.exit(host_consumer(auditlog, stream=STREAM))
