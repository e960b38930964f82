"""What a shell asks for when it completes a command line."""

#: The environment variable in which it asks.
VARIABLE = "_XRCAM_COMPLETE"
#: Shells that can ask.
SHELLS = ("bash", "zsh", "fish")
