"""Soft committee machines in the teacher-student setup."""
