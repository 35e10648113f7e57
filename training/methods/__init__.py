"""Adapter methods: what each trains, and how it is built in PEFT."""
