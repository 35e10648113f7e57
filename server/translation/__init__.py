"""From a request to translations: routing, checking, tokenizing, decoding."""
