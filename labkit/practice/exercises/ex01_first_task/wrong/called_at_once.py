# rejected by: raised
from labkit.jobs import process_image


def first_task(executor, image, steps):
    future = executor.submit(process_image(image, steps))
    return future.task_id, future.result()
