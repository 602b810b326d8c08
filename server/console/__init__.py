"""The management console: accounts, users, passwords and the pages that change them."""
