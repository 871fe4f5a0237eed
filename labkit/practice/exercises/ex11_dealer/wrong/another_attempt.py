# rejected by: raised
from labkit.core.protocol import messages as m


def serve(peer, tasks):
    peer.send(m.WorkerHello(peer.instance, peer.epoch, 1, peer.pid, peer.name, ""))
    peer.receive(m.WorkerWelcome)
    for _ in range(tasks):
        task = peer.receive(m.Task)
        peer.send(m.Started(task.task, task.attempt, 0))
        result, seconds = peer.compute(task)
        peer.send(m.Done(task.task, task.attempt + 1, seconds, result))
    peer.send(m.WorkerGoodbye())
