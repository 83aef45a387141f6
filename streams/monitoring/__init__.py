"""What a worker tells about itself: figures, health, and the HTTP endpoint that shows them."""
