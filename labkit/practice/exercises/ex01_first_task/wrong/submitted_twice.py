# rejected by: several-tasks
from labkit.jobs import process_image


def first_task(executor, image, steps):
    task = executor.submit(process_image, image, steps).task_id
    return task, executor.submit(process_image, image, steps).result()
