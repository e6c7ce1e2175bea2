"""`python -m services.notifications`: the consumer as a process."""

import sys

from sagas.hosting import host_consumer
from services.contracts import STREAM
from services.notifications.consumer import MIGRATIONS, notifications

if __name__ == "__main__":
    sys.exit(host_consumer(notifications, MIGRATIONS, stream=STREAM))
