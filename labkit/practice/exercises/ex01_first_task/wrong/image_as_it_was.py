# rejected by: wrong-image
from labkit.jobs import process_image


def first_task(executor, image, steps):
    future = executor.submit(process_image, image, steps)
    future.result()
    return future.task_id, image
