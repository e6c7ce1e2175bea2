"""`python -m services.analytics`: the consumer as a process."""

import sys

from sagas.hosting import host_consumer
from services.analytics.consumer import MIGRATIONS, analytics
from services.contracts import STREAM

if __name__ == "__main__":
    sys.exit(host_consumer(analytics, MIGRATIONS, stream=STREAM))
