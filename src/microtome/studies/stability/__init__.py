"""Stability: does fine-tuning on a crafted input collapse a model's structure, and what shields it?"""
