# rejected by: not-a-pair
from labkit.jobs import process_image


def first_task(executor, image, steps):
    return executor.submit(process_image, image, steps).result()
