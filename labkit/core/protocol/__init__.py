"""What client, broker and worker say to each other: messages, their bytes, the numbers all agree on."""
