"""`python -m apportion.cli`, the same as `apportion`."""

import sys

from apportion.cli import main

sys.exit(main())
