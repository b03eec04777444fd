"""What a registry does, with no word of HTTP: stores go in, values come out, and a miss is given its meaning."""
