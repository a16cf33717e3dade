"""A picture in, straightened staves out."""
