"""What the network looks at, and pictures of it and of whole scans."""
