"""Parts of the page of a profile; `fastsnn.profile.html` puts them together."""
