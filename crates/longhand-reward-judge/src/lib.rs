//! Asks a program for rewards, and says why when it gives none.
