# rejected by: wrong-id
from labkit.jobs import process_image


def first_task(executor, image, steps):
    future = executor.submit(process_image, image, steps)
    return str(id(future)), future.result()
