# %% [markdown] lang="es"
# # Día 3. Sistema distribuido: cuando uno falla, el trabajo sigue
#
# **Al acabar sabrás** cómo un broker reparte tareas entre workers, qué mensajes se cruzan, cómo se da cuenta
# de que uno ha desaparecido, y por qué aun así no se pierde nada.
#
# **Duración**: 45 minutos guiados y una hora libre. **Antes de empezar**: los días 1 y 2, o saber qué son un
# hilo, un proceso y un futuro. **Sin Docker**: todo el día funciona con procesos de tu máquina.

# %% [markdown] lang="en"
# # Day 3. Distributed system: when one fails, the work goes on
#
# **Afterwards you know** how a broker hands tasks to workers, which messages they exchange, how it notices
# that one has disappeared, and why nothing is lost all the same.
#
# **Time**: 45 guided minutes and one free hour. **Before you begin**: days 1 and 2, or know what a thread, a
# process and a future are. **Without Docker**: the whole day works with processes of your machine.

# %% [markdown] lang="es" teacher=true
# **Antes de clase.** Ejecuta el cuaderno entero una vez en la máquina desde la que proyectas (`Run` → `Run All
# Cells`): tarda cerca de un minuto, y hasta tres si la máquina hace otras cosas. Después `Kernel` → `Restart Kernel
# and Clear Outputs of All Cells`. Ten abiertas dos ventanas: este cuaderno y, si usas el tuyo propio, una terminal
# con `python3 lab.py status --watch`.
#
# **El tablero.** Desde que corre la primera celda de código, `http://localhost:8000/` es una página para dejar en el
# proyector o en la segunda pantalla: los workers, la cola, el rendimiento, quién calculó qué, los objetivos del día
# y la recuperación del último fallo. Si el puerto 8000 está ocupado, `cluster.api_url` dice cuál es. Sus botones piden
# una vez el token: `cluster.api_token()`. Un clúster tuyo, de `python3 lab.py up`, tiene el mismo tablero; a uno sin
# él se lo da `python3 lab.py api` (o `python -m labkit api`). En el JupyterLab del contenedor `lab`, esa dirección
# es la del clúster de contenedores; el del cuaderno se mira en su panel.
#
# **Para que se vea desde la última fila.** Amplía el navegador al 125 % (`Ctrl` y `+`) y cierra la barra de
# archivos (`Ctrl` y `B`). El panel está al principio del cuaderno y en el bloque 3 querrás verlo mientras
# corren otras celdas: botón derecho sobre él y `Create New View for Cell Output`. Se abre debajo y también
# se actualiza; baja el borde hasta que se vean las tarjetas, y ciérralo para las gráficas.
#
# **La idea del día en una frase.** No se puede impedir que una máquina falle; sí se puede lograr que su fallo
# no importe.
#
# **Una palabra prohibida hoy: «error».** Un *fallo* es cualquier avería de una parte, la hayas provocado o no: un worker
# muerto, un cable cortado. Una tarea que lanza una excepción
# tiene un *desenlace*, como cualquier otra. Una parada educada no es ninguna de las dos cosas. La palabra se
# reserva para las equivocaciones de un programa: la caza del final.
#
# **El reloj** de abajo cuenta también el silencio y las preguntas. El material extra está en la hora libre: si vas
# tarde, no corras, salta a la comprobación del minuto 34.
#
# **Sin Docker.** No cambia nada: en la hora libre, la celda de contenedores indica por qué se salta y se sigue.

# %% [markdown] lang="en" teacher=true
# **Before class.** Run the whole notebook once on the machine that you project from (`Run` → `Run All
# Cells`): it takes about a minute, and up to three if the machine does other things. Then `Kernel` →
# `Restart Kernel and Clear Outputs of All Cells`. Keep two windows open: this notebook and, if you use a
# cluster of your own, a terminal with `python3 lab.py status --watch`.
#
# **The dashboard.** Once the first code cells have run, `http://localhost:8000/` is a page to leave on the projector or
# the second screen: the workers, the queue, the throughput, who computed what, the day's targets, and the recovery
# of the last fault. If port 8000 is taken, `cluster.api_url` shows which one it is. Its buttons ask once for the
# token: `cluster.api_token()`. A cluster of your own, from `python3 lab.py up`, has the same dashboard; to one without
# it, `python3 lab.py api` (or `python -m labkit api`) adds it. In the JupyterLab of the container `lab`, that address
# belongs to the cluster of containers; watch the notebook's own on its panel.
#
# **So that the back row sees it.** Zoom the browser to 125 % (`Ctrl` and `+`) and close the file browser
# (`Ctrl` and `B`). The panel is at the top of the notebook, and in block 3 you will want to see it while other
# cells run: right-click on it, `Create New View for Cell Output`. It opens below, as live as the first; pull
# its border down until the cards show, and close it for the charts.
#
# **The day's idea in one sentence.** You cannot keep a machine from failing; you can make sure that its failure
# does not matter.
#
# **A forbidden word today: "error".** A *fault* is any failure of a part, whether you caused it or not: a dead worker, a
# cut cable. A task that raises an exception has an
# *outcome*, like any other. A polite stop is neither. A mistake in a program is a *bug*: that is for the hunt at
# the end.
#
# **The clock** below counts the silence and the questions too. Extra material is in the free hour: if you are
# late, do not hurry, jump to the check at minute 34.
#
# **Without Docker.** Nothing changes: in the free hour the cell about containers prints why it is skipped.

# %% [markdown] lang="es"
# ## Matar y recuperar · 0–10 min
#
# Tres **workers** que calculan, un **broker** en medio que les reparte las tareas y un panel para verlos. Cada
# tarjeta muestra dos cosas que no siempre coinciden: qué hace el proceso y qué cree el broker sobre él.
# (`lesson.open` llama a `open_cluster`; si ejecutas la celda otra vez, cierra antes lo que había abierto.)

# %% [markdown] lang="en"
# ## Kill and recover · 0–10 min
#
# Three **workers** that compute, a **broker** in the middle that hands them the tasks, and a panel to watch
# them. Each card shows two things that do not always agree: what the process is doing, and what the broker believes
# about it. (`lesson.open` calls `open_cluster`; if you run the cell again, it first closes what it had opened.)

# %%
from labkit.classroom import begin, gap, show, source, starting_bet

lesson = begin("{{lang}}")

# %%
from labkit import charts, open_cluster

cluster = lesson.open("cluster", open_cluster, workers=3, backend="local", api=True)
cluster.panel()

# %% [markdown] lang="es"
# Vamos a enviar ciento veinte tareas y, a mitad del trabajo, matar a `worker-2` con `kill -9`: sin aviso y con una
# tarea a medias. **Apuesta**: ¿cuántos segundos pasarán hasta que otro worker entregue esa tarea?

# %% [markdown] lang="en"
# We are going to send a hundred and twenty tasks and, midway, kill `worker-2` with `kill -9`: without warning, and
# with a task half done. **Bet**: how many seconds until another worker delivers that task?

# %%
guess_elsewhere = starting_bet(5.0)

# %%
from labkit.classroom.work import send

work = send(cluster, 120 * [0.1])
work.until_done(0.2)
work.until_computing("worker-2")
cluster.kill("worker-2")
work.until_done(0.4)
cluster.start("worker-2")
history = work.finish()
show(charts.throughput, history, 0.5)

# %% [markdown] lang="es"
# La tarea interrumpida volvió al principio de la cola y otro la terminó. Tu apuesta, junto a lo medido:

# %% [markdown] lang="en"
# The interrupted task went back to the front of the queue, and another worker finished it. Your bet next
# to the measurement:

# %% holds="chain.fault == 'kill' and chain.detection_s < 0.1"
from labkit.support.timing import Timing

chain = history.recoveries()[0]
row = charts.Guessed("kill", guess_elsewhere, Timing((chain.recovery_s,)))
show(charts.guesses, [row])
gap(row)

# %% [markdown] lang="es"
# La cadena entera, eslabón a eslabón. El broker lo supo en milésimas: al morir el proceso, el sistema
# operativo cerró su conexión. El último eslabón dependía de nosotros: el ritmo de antes vuelve con `worker-2`.

# %% [markdown] lang="en"
# The whole chain, link by link. The broker knew within milliseconds: when the process died, the operating
# system closed its connection. The last link was up to us: the former pace returns with `worker-2`.

# %%
show(charts.recovery, history)

# %% [markdown] lang="es"
# Ciento veinte tareas, ciento veinte resultados, ninguno repetido. El número de en medio muestra cuántas volvieron a
# la cola: la que `worker-2` calculaba y, si ya la tenía, la siguiente. `check` repasa toda la historia en busca de
# promesas rotas; una lista vacía es la buena noticia.

# %% [markdown] lang="en"
# A hundred and twenty tasks, as many results, none of them twice. The number in the middle shows how many tasks went
# back to the queue: the one that `worker-2` was computing and, if it had already arrived, the next one. `check` goes
# through the whole history looking for broken promises; an empty list is the good news.

# %% holds="history.counts()['done'] == 120 and history.counts()['requeued'] in (1, 2) and not history.check()"
history.counts()["done"], history.counts()["requeued"], history.check()

# %% [markdown] lang="es" teacher=true silent=1
# **Di.** Retoma la tercera pregunta de ayer: allí un proceso muerto rompía el grupo entero. Antes de pulsar ningún
# botón, cada estudiante escribe su apuesta para la celda que viene. Abre el panel y calla un minuto: alguien de la
# clase pulsa `enviar trabajo`, luego `matar` en `worker-2`, mira qué pasa y pulsa `iniciar` (la celda que viene lo
# necesita activo) y otra vez `enviar trabajo`, que así se detiene. Después de la gráfica: «Acaban de matar un
# servidor en pleno trabajo y no se perdió nada. El resto de la clase explica por qué.» La tarjeta `redis` espera al
# bloque 2, y `api` a la hora libre. En la gráfica, la zona sombreada es el tiempo sin `worker-2`.
#
# **Pregunta.** ¿Por qué el rendimiento baja a dos tercios y no a cero? (Quedan dos de los tres, y siguen
# trabajando.)
#
# **Te preguntarán** por qué tarda un cuarto de segundo si la tarea dura 0,1 s y vuelve la primera a la cola: los
# otros dos workers acaban antes su tarea actual y la siguiente, que ya tenían.
#
# **Si falla.** Si `open_cluster` avisa que un worker no está listo, la máquina está muy cargada: cierra otros
# cuadernos (`Kernel` → `Shut Down All Kernels`) y repite la celda, que cierra antes lo que había abierto. Si
# se reinicia el kernel, un aviso cubre el panel viejo al cabo de unos segundos: hay que ejecutar desde arriba.
# Mientras se ejecuta una celda, el panel se sigue actualizando, pero los clics esperan a que acabe.

# %% [markdown] lang="en" teacher=true silent=1
# **Say.** Go back to yesterday's third question: there one dead process broke the whole pool. Before any button is
# pressed, all students write down their bet for the next cell. Open the panel and be silent for a minute: one student
# presses `send work`, then `kill` on `worker-2`, watches, and presses `start` (the next cell needs the worker up) and
# `send work` again, which stops the work. After the chart: "You have just killed a server in the middle of its work,
# and nothing was lost. The rest of the lesson explains why." The card `redis` can wait until block 2, and `api` until the free hour. In the chart,
# the shaded zone is the time without `worker-2`.
#
# **Ask.** Why does the throughput fall to two thirds and not to zero? (Two of the three are left, and go on
# working.)
#
# **They will ask** why it takes a quarter of a second if the task takes 0.1 s and is the first in the queue again:
# the other two workers first finish their current task and the next one, which they already held.
#
# **If it goes wrong.** If `open_cluster` reports that a worker is not ready, the machine is very busy: close
# other notebooks (`Kernel` → `Shut Down All Kernels`) and run the cell again, which first closes what it had
# opened. If the kernel is restarted, a notice covers the old panel after a few seconds: run from the top. While a
# cell runs, the panel keeps updating, but clicks wait until the cell ends.

# %% [markdown] lang="es"
# ## Bloque 1. Los mensajes, uno a uno · 10–18 min
#
# Broker y workers hablan con **ZeroMQ**. Un `ROUTER` tiene muchas conexiones y a cada mensaje que llega le
# pone delante el remitente; un `DEALER` no añade nada y envía y recibe en cualquier momento, sin esperar turno.
# Aquí están los dos, sin nada más; uno saluda y el otro contesta:

# %% [markdown] lang="en"
# ## Block 1. The messages, one by one · 10–18 min
#
# Broker and workers speak **ZeroMQ**. A `ROUTER` has many connections, and puts the sender in front of each message
# that arrives; a `DEALER` adds nothing, and sends and receives at any time, without taking turns. Here are the two of
# them, with nothing else; one says hello and the other answers:

# %%
import zmq

context = zmq.Context()
router, dealer = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
router.bind("inproc://desk")
dealer.connect("inproc://desk")
dealer.send(b"hello")
route, said = router.recv_multipart()
router.send_multipart([route, b"welcome"])
answer = dealer.recv_multipart()
context.destroy(linger=0)
[route, said], answer

# %% [markdown] lang="es"
# El `DEALER` envió una **trama** y el `ROUTER` recibió dos: la primera es la **ruta**, el nombre que él le dio a esa
# conexión. Para contestar, pon otra vez la ruta delante; el `ROUTER` la quita.
#
# **Ahora el worker eres tú**, con un broker de verdad que no tiene otro. Un cliente pidió `add(20, 22)` y
# espera. Preséntate, recibe la tarea, avisa de que empiezas, calcúlala y entrega. **Apuesta**: ¿cuántos bytes
# intercambiarán en total el broker y tú?

# %% [markdown] lang="en"
# The `DEALER` sent one **frame**, and the `ROUTER` received two: the first is the **route**, the name that it gave to
# that connection. To answer, put the route in front again; the `ROUTER` takes it off.
#
# **Now you are the worker** of a real broker that has no other. A client has asked for `add(20, 22)` and is waiting.
# Say hello, take the task, announce that you begin, compute it, and deliver. **Bet**: how many bytes will you and
# the broker exchange altogether?

# %%
guess_bytes = starting_bet(2000)

# %%
from labkit.classroom.raw_peer import Transcript
from labkit.classroom.work import Work
from labkit.core.protocol import messages as m
from labkit.jobs import add

empty = lesson.open("empty", open_cluster, workers=0, redis=False)
question = Work(empty)
future = question.submit(add, 20, 22)

# %%
as_worker = Transcript(empty)
with as_worker.worker("by-hand") as me:
    me.send(m.WorkerHello(me.instance, me.epoch, 1, 0, me.name, ""))
    me.receive(m.WorkerWelcome)
    task = me.receive(m.Task)
    me.send(m.Started(task.task, task.attempt, 0))
    me.send(m.Done(task.task, task.attempt, 0.0, me.compute(task)))
    answer = future.result(timeout=10)
    me.send(m.WorkerGoodbye())
answer, future.worker

# %%
as_worker

# %%
row = charts.Guessed("bytes", guess_bytes, Timing((as_worker.size,)))
show(charts.guesses, [row], unit="bytes")

# %% [markdown] lang="es"
# Cada línea es un **sobre**: una sola trama con uno o más mensajes pequeños dentro. Detrás, si las hay, van las
# tramas grandes (las fotos), que el broker reenvía sin leerlas. El broker no notó ninguna diferencia: cualquier
# programa que habla este protocolo es un worker, en cualquier lenguaje.
#
# **Punto de control**: ¿cuál era el identificador de tu tarea? Los primeros seis signos, entre comillas, como los muestra
# la tabla.

# %% [markdown] lang="en"
# Each line is an **envelope**: a single frame with one or more small messages inside. Behind it, if there are
# any, come the large frames (the photos), which the broker forwards without reading them. The broker noticed no
# difference: any program that speaks this protocol is a worker, in any programming language.
#
# **Checkpoint**: what was the id of your task? Its first six characters, in quotes, as the table shows them.

# %%
answered, asked = question.finish(), future.task_id
empty.close()
my_task = None
lesson.checkpoint(1, (answer, future.worker) == (42, "by-hand"), my_task, asked)

# %% [markdown] lang="es" teacher=true
# **Di.** «Todo lo que hace este laboratorio, incluso recuperarse de una muerte, se hace con mensajes como estos.» Lee
# la tabla en voz alta como si fuera un diálogo, de arriba abajo. De los campos bastan tres: `task` (qué tarea),
# `attempt` (qué intento) y `epoch` (un número al azar, nuevo en cada saludo; muestra que un worker que vuelve
# no es el mismo de antes).
#
# **Pregunta.** ¿Por qué `Task` lleva un número de intento? (Para distinguir su resultado del de un intento
# anterior, que puede llegar tarde.)
#
# **Si sobra tiempo.** El identificador de la tarea lo inventa el cliente. ¿Por qué no el broker? (Para poder
# pedirla otra vez sin que se haga dos veces.)
#
# **Te preguntarán** qué son los bytes raros de la ruta: un cero y un número que el `ROUTER` inventa para cada
# conexión.
#
# **Si falla.** Si una celda avisa que esperó un mensaje en vano, solo se ejecutó la mitad de la conversación:
# repítela desde `lesson.open("empty", …)`. El broker da por muerto a quien calla dos segundos; por eso la
# conversación entera está en una celda. Los 6 s de `patience_s` son otra cosa: cuánto espera el worker a un broker
# que no contesta.

# %% [markdown] lang="en" teacher=true
# **Say.** "Everything that this lab does, even recovering from a death, is done by messages like these." Read the
# table aloud as if it were a dialogue, from top to bottom. Three of the fields are enough: `task` (which task),
# `attempt` (which attempt) and `epoch` (a random number, new with each hello; it shows that a returning worker
# is not the same as before).
#
# **Ask.** Why does `Task` carry the number of an attempt? (To tell its result from that of an earlier
# attempt, which may come late.)
#
# **If there is time.** The client makes up the task's id. Why not the broker? (So that it can ask again without
# the work being done twice.)
#
# **They will ask** what the odd bytes of the route are: a zero and a number that the `ROUTER` makes up for each
# connection.
#
# **If it goes wrong.** If a cell reports that it waited for a message in vain, only half of the conversation was
# run: run again from `lesson.open("empty", …)`. The broker considers a peer dead after two seconds of silence; that is
# why the whole conversation is in one cell. The 6 s of `patience_s` are something else: how long the worker waits for
# a silent broker.

# %% [markdown] lang="es"
# ## Bloque 2. ¿A quién le toca? · 18–27 min
#
# Elegir worker es una función de una línea; aquí hay dos, del código real del laboratorio. `round_robin`
# elige al worker cuyo último turno fue hace más tiempo, por ocupado que esté. `least_busy` elige al que tiene menos
# tareas en curso y, si hay empate, al que se usó hace más tiempo.

# %% [markdown] lang="en"
# ## Block 2. Whose turn is it? · 18–27 min
#
# Choosing a worker is a function of one line; here are two from the lab's real code. `round_robin` takes the worker
# whose last turn was longest ago, however busy it is. `least_busy` takes the one with the fewest tasks in flight and,
# among equals, the one used longest ago.

# %%
from labkit.core.broker.policies import least_busy, round_robin

source(round_robin)
source(least_busy)

# %% [markdown] lang="es"
# Llega una tarea cada 0,12 s. De cada cinco, una es larga (0,7 s) y cuatro son cortas (0,05 s); tres workers
# dan de sobra. **Apuesta**: ¿cuál será la espera más larga de una tarea con cada política?

# %% [markdown] lang="en"
# A task arrives every 0.12 s. One in five is long (0.7 s) and four are short (0.05 s); three workers are more
# than enough. **Bet**: what will be the longest wait of a task with each policy?

# %%
guess_wait = {"round_robin": starting_bet(0.2), "least_busy": starting_bet(0.2)}

# %% holds="charts.longest_wait(by_policy['round_robin']).median > 0.1 and charts.longest_wait(by_policy['least_busy']).median < 0.1"
uneven = 5 * [0.7, 0.05, 0.05, 0.05, 0.05]
by_policy = {}
for policy in guess_wait:
    with open_cluster(workers=3, policy=policy, redis=False) as three:
        by_policy[policy] = send(three, uneven, every_s=0.12).finish()
show(charts.waits, by_policy, guess_wait)
for name, run in by_policy.items():
    gap(charts.Guessed(name, guess_wait[name], charts.longest_wait(run)))

# %% [markdown] lang="es"
# Por turnos, una tarea corta puede quedar detrás de una larga aunque haya otros workers libres. `least_busy` no lo
# permite (si aun así ves alguna espera, la máquina se detuvo un momento). Fíjate en la mediana: en las dos son
# milésimas. **La mediana oculta las tareas que tuvieron que esperar**; mira la espera más larga.
#
# ### El registro, y su reflejo en Redis
#
# El broker lleva en su memoria la lista de workers y sus latidos. En Redis hay una copia que cualquiera
# puede leer: `redis-cli HGETALL workers` o, por HTTP, `curl http://localhost:8000/api/workers/status/`.

# %% [markdown] lang="en"
# With turns, a short task may end up behind a long one even though other workers are idle. `least_busy` does not let
# that happen (if you still see a wait there, the machine paused for a moment). Look at the median: milliseconds with
# both. **The median hides the tasks that had to wait**; look at the longest wait.
#
# ### The registry, and its mirror in Redis
#
# The broker keeps the list of workers and their heartbeats in its memory. Redis has a copy that anyone can
# read: `redis-cli HGETALL workers` or, over HTTP, `curl http://localhost:8000/api/workers/status/`.

# %%
from labkit.classroom.registry import Registry

registry = Registry(cluster)
registry.beside_broker()

# %% [markdown] lang="es"
# Algo roto a propósito: `FLUSHALL` borra Redis entero, con cuarenta tareas enviadas. ¿Se perderá alguna?
# **Apuesta**: ¿cuántos segundos pasarán hasta que Redis muestre otra vez los tres workers?

# %% [markdown] lang="en"
# Something broken on purpose: `FLUSHALL` wipes all of Redis, with forty tasks submitted. Will any be lost?
# **Bet**: how many seconds until Redis shows all three workers again?

# %%
guess_healed = starting_bet(5.0)

# %% holds="(shown_after_flush, lost) == (0, 0)"
work = send(cluster, 40 * [0.1])
work.until_done(0.2)
shown_after_flush = registry.flush()
healed = Timing((registry.until_whole(),))
lost = 40 - work.finish().counts()["done"]
show(charts.guesses, [charts.Guessed("healed", guess_healed, healed)])
shown_after_flush, lost

# %% [markdown] lang="es"
# Los dos números: cuántos workers mostraba Redis tras el borrado, y cuántas tareas se perdieron. **Redis es una
# copia, nunca la fuente de la verdad**: el broker no la lee y, en cuanto nota que falta, la escribe otra vez entera.
#
# **Punto de control**: ¿cuántos segundos esperó hoy la que más, con `round_robin`?

# %% [markdown] lang="en"
# The two numbers: how many workers Redis showed after the wipe, and how many tasks were lost. **Redis is a copy,
# never the source of truth**: the broker does not read it and, as soon as it notices that the copy is gone, writes it
# again in full.
#
# **Checkpoint**: how many seconds did the longest wait take today, with `round_robin`?

# %%
registry.close()
ended = [history.counts()["done"] for history in by_policy.values()]
longest_s = None
longest = charts.longest_wait(by_policy["round_robin"]).median
lesson.checkpoint(2, ended == [len(uneven)] * 2 and lost == 0, longest_s, longest, within=0.03)

# %% [markdown] lang="es" teacher=true
# **Di.** La gráfica de esperas se lee de abajo arriba: casi todos los puntos juntos y unos pocos muy lejos.
#
# **Si sobra tiempo.** Si todas las tareas llegan a la vez, ¿cambia algo la política? (Casi nada: un worker nunca
# tiene más que su tarea actual y la siguiente; las demás esperan en el broker, y la política decide tarde.)
#
# **Te preguntarán** por qué el latido de Redis es más viejo que el del broker: es una copia y, mientras no cambia
# nada, se renueva de vez en cuando. Y por qué las tareas terminadas no suman ciento veinte: las que `worker-2` hizo
# antes de morir se fueron con él; el que volvió es un worker nuevo y cuenta desde cero. En una terminal, dale a
# `redis-cli -u` el valor de `cluster.redis_url`.
#
# **Si falla.** Sin Redis (Windows), las celdas del registro lo avisan y siguen. Si la gráfica de
# `least_busy` muestra alguna espera larga, la máquina se detuvo un momento: mira cuántas son, no cuáles.

# %% [markdown] lang="en" teacher=true
# **Say.** Read the chart of the waits from the bottom up: nearly all points together, and a few of them far
# away.
#
# **If there is time.** If all tasks come at once, does the policy change anything? (Hardly: a worker never holds
# more than its current task and the next one; the others wait at the broker, and the policy decides late.)
#
# **They will ask** why the heartbeat in Redis is older than the broker's: it is a copy which, while nothing changes,
# is only renewed now and then. And why the tasks done do not add up to a hundred and twenty: those that `worker-2`
# did before it died are gone with it; the one that came back is a new worker and counts from zero. In a terminal,
# give `redis-cli -u` the value of `cluster.redis_url`.
#
# **If it goes wrong.** Without Redis (Windows), the cells about the registry print a note and go on. If the chart
# shows a long wait for `least_busy`, the machine paused for a moment: look at how many there are, not at
# which.

# %% [markdown] lang="es"
# ## Bloque 3. Cuatro maneras de faltar · 27–34 min
#
# Un worker puede faltar de cuatro maneras: **cae** (`kill`), **se congela** (`pause`: el proceso sigue ahí, sin
# hacer nada), está **lento**, o se le pide que **pare con educación** (`stop`). La caída ya la tienes, del
# principio. **Apuesta**: ¿cuántos segundos tardará el broker en dar por perdido al worker congelado?

# %% [markdown] lang="en"
# ## Block 3. Four ways of being absent · 27–34 min
#
# A worker can be absent in four ways: it **crashes** (`kill`), it **freezes** (`pause`: the process is still
# there, and does nothing), it is **slow**, or it is asked to **stop politely** (`stop`). You already have
# the crash, from the beginning. **Bet**: how many seconds until the broker gives the frozen worker up as lost?

# %%
guess_frozen = starting_bet(1.0)
absent = {"crash": history}

# %%
work = send(cluster, 80 * [0.1])
work.until_done(0.2)
work.until_computing("worker-2")
cluster.pause("worker-2")
work.until_seen("lost", "worker-2")
cluster.resume("worker-2")
absent["freeze"] = work.finish()

# %%
from labkit.classroom.slowed import slowed

work = send(cluster, 60 * [0.1])
work.until_done(0.2)
with slowed(cluster, "worker-2"):
    work.until_done(0.8)
absent["slow"] = work.finish()

# %%
work = send(cluster, 60 * [0.1])
work.until_done(0.3)
work.until_computing("worker-2")
cluster.stop("worker-2")
cluster.start("worker-2")
absent["stop"] = work.finish()

# %%
frozen = absent["freeze"].recoveries()[0]
row = charts.Guessed("freeze", guess_frozen, Timing((frozen.detection_s,)))
show(charts.guesses, [row])
gap(row)

# %% holds="1.9 < frozen.detection_s < 2.6 and absent['slow'].share()['worker-2'] < min(absent['slow'].share()[w] for w in ('worker-1', 'worker-3')) and not absent['slow'].counts().get('lost') and not absent['stop'].counts().get('lost')"
show(charts.absences, absent)

# %% [markdown] lang="es"
# Lee los cuatro carriles de arriba abajo:
#
# * **Caída**: muere un **proceso**, el sistema operativo cierra su conexión y el broker lo sabe al momento. Si muere la
#   **máquina** entera, o se corta el cable, no hay quien cierre: solo llega silencio, como del congelado.
# * **Congelado**: la conexión sigue abierta y no llega ningún mensaje. Solo el **silencio** lo delata: al segundo es
#   sospechoso, a los dos está perdido. Al despertar, el broker le avisa que *caducó* y entra como worker nuevo.
# * **Lento**: envía latidos, así que vive. El broker no lo da por perdido; solo recibe menos tareas.
# * **Parada educada**: termina lo que tiene, devuelve lo que no empezó y se despide. **No es un fallo.**
#
# **Punto de control**: ¿cuántas tareas hizo el lento? Pregúntaselo a su historia, en una celda tuya:
# `absent["slow"].share()`.

# %% [markdown] lang="en"
# Read the four lanes from top to bottom:
#
# * **Crash**: a **process** dies, the operating system closes its connection, and the broker knows at once. If the whole
#   **machine** dies, or a cable is cut, nothing is left to close it: there is only silence, as from the frozen one.
# * **Freeze**: the connection stays open, and no message arrives. Only the **silence** reveals it: after one second
#   it is suspect, after two it is lost. When it wakes, the broker tells it that it is *stale*, and it joins as a new
#   worker.
# * **Slow**: it sends heartbeats, so it is alive. The broker does not give it up; it just gets fewer tasks.
# * **Polite stop**: it finishes what it holds, gives back what it has not begun, and says goodbye. **That is
#   not a fault.**
#
# **Checkpoint**: how many tasks did the slow one do? Ask its history, in a cell of your own: `absent["slow"].share()`.

# %%
broken = [name for name, history in absent.items() if history.check()]
of_the_slow = None
lesson.checkpoint(3, not broken and len(absent) == 4, of_the_slow, absent["slow"].share()["worker-2"])

# %% [markdown] lang="es" teacher=true
# **Di.** «Un worker muerto no puede volver tarde; uno congelado, sí.» Es la frase clave del bloque: por eso hay
# épocas, intentos numerados y «caducado». Con el panel abierto debajo, que la clase mire la tarjeta de
# `worker-2` mientras corre cada celda.
#
# **Pregunta.** ¿Podría el broker distinguir un congelado de un cable desconectado? (No: los dos son solo silencio.)
#
# **Si sobra tiempo.** ¿Por qué no esperar solo 0,1 s antes de darlo por muerto? (Cualquier pausa de la
# máquina parecería una muerte, y el trabajo se haría dos veces.) ¿Qué pasa, cuando el congelado despierta,
# con el resultado que tenía a medias? (Gana el primer resultado válido; el otro se cuenta y se descarta. Aquí el suyo
# suele llegar antes que el del segundo intento: por eso la tabla muestra 0 tardíos.)
#
# **Si falla.** En una máquina muy cargada el «lento» puede llegar a callar más de un segundo y salir como
# sospechoso: es correcto, y es una buena conversación. Si una celda se interrumpe a medias, ejecuta
# `cluster.status()` y arranca o reanuda desde el panel lo que falte. Si una celda espera a un worker o a un
# broker muerto o congelado, lo avisa en unos segundos, con lo que hay que hacer.

# %% [markdown] lang="en" teacher=true
# **Say.** "A dead worker cannot come back late; a frozen one can." That is the key sentence of this block: it is why
# there are epochs, numbered attempts and "stale". With the panel open below, let the class watch the card of
# `worker-2` while each cell runs.
#
# **Ask.** Could the broker tell a frozen worker from an unplugged cable? (No: both are just silence.)
#
# **If there is time.** Why not wait for just 0.1 s before giving it up? (Any pause of the machine would look
# like a death, and work would be done twice.) What happens, when the frozen worker wakes, to its half-done
# result? (The first valid result wins; the other is counted and dropped. Here its own mostly arrives before that of
# the second attempt: so the table shows 0 late.)
#
# **If it goes wrong.** On a very busy machine the "slow" one may be silent for more than a second and show
# up as suspect: that is right, and worth talking about. If a cell is interrupted half-way, run
# `cluster.status()` and start or resume from the panel what is missing. If a cell waits for a killed or
# frozen worker or broker, it reports that within seconds, with what to do.

# %% [markdown] lang="es"
# ## Comprobación: a la caza de un error · 34–43 min
#
# Un worker hecho a mano recibe una tarea que dura 2,6 s, la calcula bien y la entrega. Pero el broker lo da por
# perdido. ¿Qué línea tiene la culpa, y por qué? En este código `time.sleep` hace de cálculo y dura lo que la
# tarea (`task_s`):

# %% [markdown] lang="en"
# ## Check: a bug hunt · 34–43 min
#
# A worker made by hand gets a task that takes 2.6 s, computes it correctly, and delivers it. But the broker gives the
# worker up as lost. Which line is to blame, and why? In this code `time.sleep` stands for the computing and lasts as
# long as the task (`task_s`):

# %%
from labkit.classroom import by_hand
from labkit.classroom.story import story

source(by_hand.one)

# %% holds="result == 42 and hunted.counts()['lost'] == 1"
empty = lesson.open("empty", open_cluster, workers=0, redis=False)
question = Work(empty)
future = question.submit(add, 20, 22)
with Transcript(empty).worker("one") as me:
    by_hand.one(me, 2.6)
    result = future.result(timeout=10)
hunted = question.end()
story(hunted, future.task_id)

# %% [markdown] lang="es"
# El resultado es correcto y aun así algo fue mal: antes de que el worker acabara, el broker lo dio por muerto. Con más
# workers, la tarea se habría hecho **dos veces**.
#
# <details><summary>¿Ya lo tienes? La respuesta</summary>
#
# **El error**: mientras calculaba no enviaba latidos. La celda que sigue, plegada, prueba otro worker: en vez de
# `time.sleep(task_s)` tiene `me.rest(task_s)`, que dura lo mismo y los envía. En un worker de verdad los latidos salen
# del hilo que habla, nunca del que calcula; por eso una tarea larga no lo mata.
#
# </details>

# %% [markdown] lang="en"
# The result is right, and still something went wrong: before the worker finished, the broker took it for dead. With
# more workers the task would have been done **twice**.
#
# <details><summary>Found it? The answer</summary>
#
# **The bug**: it sent no heartbeats while it computed. The next cell, folded, tries another worker: instead of
# `time.sleep(task_s)` it has `me.rest(task_s)`, which takes as long and sends them. In a real worker the heartbeats
# come from the thread that talks, never from the one that computes; that is why a long task does not kill it.
#
# </details>

# %% tags=["answer"] holds="mended.counts().get('lost', 0) == 0"
question = Work(empty)
future = question.submit(add, 20, 22)
with Transcript(empty).worker("other") as me:
    by_hand.other(me, 2.6)
    result = future.result(timeout=10)
mended = question.end()
empty.close()
{name: run.counts().get("lost", 0) for name, run in {"one": hunted, "other": mended}.items()}

# %% [markdown] lang="es"
# ### Los objetivos del día, medidos
#
# Las promesas del día, medidas varias veces con fotografías de verdad en un clúster nuevo de tres workers; uno
# muere y vuelve. Cada píxel se compara con el de un bucle sencillo. Partes iguales quiere decir: cada worker se aparta de
# lo suyo (un tercio, o lo que dé su velocidad medida) dos tareas y un décimo, como mucho.

# %% [markdown] lang="en"
# ### The day's targets, measured
#
# The day's promises, measured several times with real photographs on a new cluster of three workers; one of them
# dies and comes back. Every pixel is compared with that of a plain loop. An equal share means: no worker is off its due
# (a third, or what its measured speed earns) by more than two tasks and a tenth.

# %%
from labkit.classroom.targets import measure_targets

with open_cluster(workers=3, backend="local") as fresh:
    measured = measure_targets(fresh)
measured

# %% [markdown] lang="es" teacher=true silent=1.5
# **Di.** Un minuto y medio de silencio con el código en la pared. Quienes lo vean, que no lo digan: que escriban qué
# línea y por qué.
#
# **Pregunta.** ¿Qué demuestra un latido? (Que el proceso vive; no que la tarea avance. De eso se encarga el plazo
# de cada intento.)
#
# **Si sobra tiempo.** ¿Qué objetivo de la tabla fallaría seguro si `worker-2` no volviera? (El de los tres
# activos. No se perdería nada.)
#
# **Te preguntarán** por qué dos tareas y un décimo: un worker tiene hasta dos tareas a la vez, así que una cuenta que
# se corta en la muerte no es más exacta; y la velocidad también se mide. Con más tareas el margen se estrecha: con 12
# va de 13 % a 53 %, con 180 de 29 % a 38 %. En una máquina ocupada un worker es más lento y `least_busy` le da menos,
# como debe; entonces la tabla muestra las velocidades. Y por qué aquí el
# broker puede tardar más en notar la muerte que al principio: los workers calculan de verdad y ocupan los núcleos.
#
# **Si falla.** Si la tabla muestra `NO CUMPLIDO` en el reparto, la máquina cambió de ritmo a mitad de la medida (por
# ejemplo, otro programa empezó a trabajar). Vuelve a ejecutar la celda y compara.

# %% [markdown] lang="en" teacher=true silent=1.5
# **Say.** A minute and a half of silence with the code on the wall. Students who see it keep quiet and write down
# which line, and why.
#
# **Ask.** What does a heartbeat prove? (That the process is alive; not that the task advances. The lease
# of each attempt checks that.)
#
# **If there is time.** Which target of the table would surely be missed if `worker-2` did not come back? (The one
# that all three are active. Nothing would be lost.)
#
# **They will ask** why two tasks and a tenth: a worker holds up to two tasks at a time, so a count that stops at the
# kill is no more exact; and speed is measured, too. With more tasks the margin narrows: with 12 it is 13 % to 53 %,
# with 180 it is 29 % to 38 %. On a busy machine one worker is slower, and `least_busy` rightly gives it less; then the
# table shows the speeds. They may also ask why the broker takes longer here to
# notice the death than at the beginning: these workers really compute, and occupy the cores.
#
# **If it goes wrong.** If the table shows `MISSED` for the shares, the machine changed its pace in the middle of the
# measurement (for example, another program began to work). Run the cell again and compare.

# %% [markdown] lang="es"
# ## Resumen y avance · 43–45 min
#
# **Tres hechos**
#
# 1. El broker guarda la tarea hasta tener su resultado; por eso la muerte de un worker cuesta tiempo y no datos.
# 2. La muerte de un proceso se nota enseguida (se cierra su conexión); la de una máquina, solo por su silencio.
# 3. Una tarea puede ejecutarse más de una vez, y sus efectos también; su desenlace se ve exactamente una.
#
# **Tres preguntas**
#
# 1. ¿Por qué un worker que vuelve entra como nuevo, aunque sea el mismo proceso?
# 2. ¿Qué perderías si el broker leyera su lista de workers de Redis?
# 3. ¿Qué vigila al broker, y qué decide cuántos workers hacen falta?
#
# La tercera es la de mañana, el día 4. Todo lo demás está en la [página de inicio](index.ipynb).

# %% [markdown] lang="en"
# ## Recap and preview · 43–45 min
#
# **Three facts**
#
# 1. The broker keeps a task until it has its result; so a worker's death costs time and no data.
# 2. The death of a process is noticed at once (its connection closes); that of a machine, only by its silence.
# 3. A task may be executed more than once, and so may its side effects; its outcome is seen exactly once.
#
# **Three questions**
#
# 1. Why does a worker that returns join as a new one, even if it is the same process?
# 2. What would you lose if the broker read its list of workers from Redis?
# 3. What watches the broker, and what decides how many workers are needed?
#
# The third is tomorrow's, day 4. Everything else is on the [start page](index.ipynb).

# %% [markdown] lang="es" teacher=true silent=1
# **Di.** Una pareja, una pregunta, una frase. La primera: mientras callaba, sus tareas volvieron a la cola. Como
# worker nuevo empieza vacío, y ningún lado cree que aún las tiene. La segunda: todos los workers, con cada borrado y
# con cada caída de Redis. Deja la tercera abierta: mañana empieza por ella.

# %% [markdown] lang="en" teacher=true silent=1
# **Say.** One pair, one question, one sentence. The first: while it was silent, its tasks went back to the queue.
# As a new worker it starts empty, and no side believes that it still holds them. The second: all the workers, at each
# wipe and each outage of Redis. Leave the third open: tomorrow begins with it.

# %% [markdown] lang="es"
# ## La hora libre
#
# Aquí acaban los 45 minutos guiados. La [práctica del día 3](practice_day3.ipynb) tiene los ejercicios: escribes a mano
# piezas de este sistema, y el veredicto aparece debajo de cada celda.
#
# * **Imprescindible**: 12, el menos ocupado; 13, ¿muerto o solo lento?; 14, nada se pierde.
# * **Objetivo**: 11, un worker a mano; 15, tarde, pero ¿es el primero?; 16, veneno.
# * **Para ir más allá**: los ejercicios desde el 21: una cola, un registro y un worker en un contenedor, sobre Redis.
#
# Lo que sigue son más vistazos al clúster de hoy, celda a celda, y al final el panel es tuyo.
#
# ### Capacidades
#
# No todos los workers saben hacer de todo. Aquí solo `worker-3` sabe enfocar; los otros dos desenfocan.

# %% [markdown] lang="en"
# ## The free hour
#
# Here the 45 guided minutes end. The [practice for day 3](practice_day3.ipynb) has the exercises: you write pieces of this
# system by hand, and the verdict appears below each cell.
#
# * **Must**: 12, least busy; 13, dead or only slow?; 14, nothing is lost.
# * **Target**: 11, a worker by hand; 15, late, but is it the first?; 16, poison.
# * **Stretch**: the exercises from 21 on: a queue, a registry and a worker in a container, on Redis.
#
# What follows are more looks at today's cluster, cell by cell, and at the end the panel is yours.
#
# ### Capabilities
#
# Not every worker can do everything. Here only `worker-3` can sharpen; the other two blur.

# %%
from labkit.imaging.filters import parse_steps
from labkit.jobs import process_image
from labkit.imaging.photos import bundled

skills = {"worker-1": ["blur"], "worker-2": ["blur"], "worker-3": ["sharpen"]}
special = lesson.open("special", open_cluster, workers=3, capabilities=skills, redis=False)
photo = bundled()[0].array()

# %%
mixed = Work(special)
for name in 6 * ["blur", "sharpen"]:
    mixed.submit(process_image, photo, parse_steps([name]))
by_skill = mixed.finish()
assert by_skill.share()["worker-3"] == 6
show(charts.share, by_skill)

# %% [markdown] lang="es"
# ¿Y si ningún worker sabe? La tarea espera a uno que sepa, pero no para siempre: aquí, un segundo.

# %% [markdown] lang="en"
# And if no worker can? The task waits for one that can, but not for ever: here, one second.

# %%
unable = Work(special)
refused = unable.submit(process_image, photo, parse_steps(["edges"]), deadline_s=1.0)
error = refused.exception(timeout=20)
unable.end()
special.close()
type(error).__name__

# %% [markdown] lang="es"
# ### Ahora, de cliente
#
# En el bloque 1 hiciste de worker. El otro lado habla igual: saluda, envía `add(1, 2)` y escucha.

# %% [markdown] lang="en"
# ### Now as a client
#
# In block 1 you played a worker. The other side speaks in the same way: say hello, submit `add(1, 2)`, and listen.

# %%
as_client = Transcript(cluster)
with as_client.client("me") as me:
    me.send(m.ClientHello(me.id, me.name))
    me.receive(m.ClientWelcome)
    me.send(me.submission(add, 1, 2))
    total = me.value(me.receive(m.Result))
    me.send(m.ClientGoodbye())
assert total == 3
as_client

# %% [markdown] lang="es"
# Puedes ver cinco mensajes o seis: si el resultado tarda más de 5 ms, el broker manda antes un
# `Accepted`; si no, el resultado vale por los dos. Así está hecho el `Submit`, byte a byte:

# %% [markdown] lang="en"
# You may see five messages or six: if the result takes more than 5 ms, the broker first sends an `Accepted`;
# otherwise the result serves as both. This is how the `Submit` is made, byte by byte:

# %%
as_client.anatomy(m.Submit)

# %% [markdown] lang="es"
# ### Un worker, como está en Redis
#
# Esto contesta `redis-cli HGET workers worker-1`. ¿Qué campo cambia si lo miras otra vez al cabo de un segundo?
# (`redis-cli LLEN image_tasks` muestra cuántas tareas esperan.)

# %% [markdown] lang="en"
# ### A worker, as it stands in Redis
#
# This is the answer to `redis-cli HGET workers worker-1`. Which field changes if you look again a second later?
# (`redis-cli LLEN image_tasks` shows how many tasks are waiting.)

# %%
registry = Registry(cluster)
registry.raw("worker-1")
registry.close()

# %% [markdown] lang="es"
# ### Con curl, y en el navegador
#
# Todo esto se puede pedir también por HTTP. En `http://localhost:8000/` hay un tablero, y `/docs` describe cada llamada.
# Las celdas que siguen muestran la orden de `curl` que puedes escribir en una terminal, y hacen esa misma llamada. Si el
# puerto 8000 está ocupado, este clúster tiene otro: `cluster.api_url`.

# %% [markdown] lang="en"
# ### With curl, and in the browser
#
# All of this can be asked for over HTTP, too. `http://localhost:8000/` is a dashboard, and `/docs` describes each call.
# The cells that follow show the `curl` command that you can type in a terminal, and make that very call. If port 8000
# is taken, this cluster has another: `cluster.api_url`.

# %%
from labkit.classroom.curl import Curl

curl = Curl(cluster)
curl.get("/api/workers/status/")

# %% [markdown] lang="es"
# Un lote para los tres workers, con fotografías del laboratorio. La respuesta llega enseguida: 202, «aceptado», con los
# identificadores de las tareas.

# %% [markdown] lang="en"
# A batch for the three workers, with the lab's own photographs. The answer comes at once: 202, "accepted", with the ids
# of the tasks.

# %%
strong = {"sharpen": {"intensity": 3}, "edges": {"threshold1": 50, "threshold2": 150}}
edges_too = {"filters": ["sharpen", "edges"], "filter_params": strong}
sent = curl.post("/api/process-batch/distributed/", edges_too)
sent

# %% [markdown] lang="es"
# Con los procesos de tu máquina, como ayer, la respuesta no llega hasta que todo está hecho. Después, el lote de antes:
# ¿qué parte hizo cada worker?

# %% [markdown] lang="en"
# With processes of your machine, as yesterday, the answer does not come before everything is done. Then, the batch
# from before: which share did each worker do?

# %%
sharper = {"filters": ["sharpen"], "filter_params": {"sharpen": {"intensity": 2}}}
curl.post("/api/process-batch/multiprocessing/", sharper)

# %%
curl.get(sent.batch)

# %% [markdown] lang="es"
# Y una sola foto, que va y vuelve en una llamada. Prueba en la terminal con una tuya.

# %% [markdown] lang="en"
# And a single photo, there and back in one call. In the terminal, try one of your own.

# %%
curl.picture("/api/process/", bundled()[3].path)

# %% [markdown] lang="es"
# ### Lo que el broker registró
#
# La historia de la tarea que hiciste a mano en el bloque 1, como la vio el broker:

# %% [markdown] lang="en"
# ### The broker's record
#
# The story of the task that you did by hand in block 1, as the broker saw it:

# %%
story(answered, asked)

# %% [markdown] lang="es"
# ### Un resultado, pero ¿un solo efecto?
#
# Cada desenlace se ve exactamente una vez. Los **efectos** de una tarea, no: si su worker muere después de cobrar, de
# enviar un correo o de escribir en un archivo, otro la repite. Esta tarea anota una línea en un archivo y después
# calcula medio segundo; matamos a su worker entre lo uno y lo otro. **Apuesta**: ¿cuántas líneas habrá para un solo
# resultado?

# %% [markdown] lang="en"
# ### One result, but one side effect?
#
# Each outcome is seen exactly once. The **side effects** of a task are not: if its worker dies after it has charged a
# card, sent a mail or written to a file, another one repeats it. This task notes one line in a file and then computes
# for half a second; we kill its worker in between. **Bet**: how many lines will there be for a single result?

# %%
guess_lines = starting_bet(1)

# %%
from labkit.classroom.effects import effects_of_a_kill

careless = effects_of_a_kill(cluster, idempotent=False)
lines = charts.Guessed("lines", guess_lines, Timing((careless.lines,)))
show(charts.guesses, [lines], unit="lines")

# %% [markdown] lang="es"
# La misma tarea, **idempotente**: antes de anotar mira si ya está anotado, por un nombre que es igual en todos los
# intentos. Hacerla dos veces deja lo mismo que hacerla una.

# %% [markdown] lang="en"
# The same task, **idempotent**: before it notes anything, it looks whether that is noted already, by a name that is the
# same in every attempt. Doing it twice leaves the same as doing it once.

# %% holds="(careless.results, careless.lines) == (1, 2) and (careful.results, careful.lines) == (1, 1)"
from labkit.jobs import note_once

source(note_once)
careful = effects_of_a_kill(cluster, idempotent=True)
careless, careful

# %% [markdown] lang="es"
# ### El congelado y el lento, de cerca
#
# La cadena de recuperación del worker congelado, para compararla con la del principio. El «otro worker» puede ser él
# mismo: al volver entró como uno nuevo.

# %% [markdown] lang="en"
# ### A closer look at the frozen and the slow worker
#
# The recovery chain of the frozen worker, to compare with today's first one. "Elsewhere" may be the same worker: when
# it came back, it joined as a new one.

# %%
show(charts.recovery, absent["freeze"])

# %% [markdown] lang="es"
# El lento recibió menos tareas sin ninguna regla especial: cada vez que el broker busca al menos ocupado, él
# todavía está con la anterior.

# %% [markdown] lang="en"
# The slow worker got fewer tasks, by no special rule: whenever the broker looks for the least busy one, it is still
# at its last task.

# %%
show(charts.share, absent["slow"])

# %% [markdown] lang="es"
# ### Lo mismo en contenedores
#
# El clúster de hoy son procesos (`backend="local"`). Donde hay Docker puede vivir en contenedores
# (`backend="compose"`), y las llamadas no cambian. Donde no lo hay, la celda lo avisa y no pasa nada.

# %% [markdown] lang="en"
# ### The same in containers
#
# Today's cluster is processes (`backend="local"`). With Docker it can live in containers
# (`backend="compose"`), and the calls do not change. Without Docker, the cell prints a note and you miss
# nothing.

# %%
from labkit.classroom.containers import in_containers

with in_containers(workers=3) as boxed:
    if boxed:
        work = send(boxed, 60 * [0.1])
        work.until_computing("worker-2")
        boxed.kill("worker-2")
        work.until_seen("lost", "worker-2")
        boxed.start("worker-2")
        show(charts.recovery, work.finish())

# %% [markdown] lang="es" teacher=true
# **La celda de contenedores.** Si la quieres, antes de clase: `python3 lab.py up --backend compose` construye
# las imágenes una vez, con red y en unos minutos; sin ellas la celda se salta.
#
# **Di.** Con Docker, esto es `docker-compose kill worker-2` y `docker-compose start worker-2`. El tablero y las
# llamadas de `curl` son allí el servicio `api`, en el mismo puerto 8000. Sin Docker no se pierde nada: esta celda no
# enseña nada más.

# %% [markdown] lang="en" teacher=true
# **The cell about containers.** If you want it, before class: `python3 lab.py up --backend compose` builds the
# images once, with a network and in some minutes; without them the cell is skipped.
#
# **Say.** With Docker this is `docker-compose kill worker-2` and `docker-compose start worker-2`. The dashboard and the
# calls of `curl` are the service `api` there, at the same port 8000. Without Docker nothing is missed: this cell
# teaches nothing else.

# %% [markdown] lang="es"
# ### Rompe lo que quieras
#
# El panel otra vez, ahora con trabajo continuo. Rompe lo que quieras; la última celda lo recoge todo, cuando tú digas.
#
# * **Imprescindible**: mata a dos de los tres workers. Antes, apuesta cuánto bajará el rendimiento. ¿Qué pasa
#   si matas a los tres y después arrancas uno?
# * **Objetivo**: mata al `broker` con el panel mientras hay trabajo y vuelve a iniciarlo. ¿Por qué no se pierde
#   nada? El registro del panel nombra las tareas que estaban en marcha: busca la historia de una en
#   `story(cluster.history(), "…")`, con sus seis signos. En código: `cluster.history().recoveries()[-1].held[0]`.
# * **Para ir más allá**: haz de worker que devuelve: recibe una tarea con `Transcript` y contesta
#   `m.Returned(task.task, task.attempt)`. ¿Qué worker la hace después? ¿Y si contestas dos veces `m.Done`?

# %% [markdown] lang="en"
# ### Break what you like
#
# The panel again, now with a steady stream of work. Break what you like; the last cell tidies everything up, when you
# say so.
#
# * **Must**: kill two of the three workers. Bet first how far the throughput will fall. What happens if you
#   kill all three and then start one?
# * **Target**: kill the `broker` on the panel while there is work, and start it again. Why is nothing lost?
#   The panel's log names the tasks that were running: look for the story of one in `story(cluster.history(), "…")`,
#   with its six characters. In code: `cluster.history().recoveries()[-1].held[0]`.
# * **Stretch**: play a worker that gives back: take a task with `Transcript` and answer `m.Returned(task.task,
#   task.attempt)`. Which worker does it then? And if you send `m.Done` twice?

# %%
cluster.panel(work=True)

# %% [markdown] lang="es"
# Cuando acabes, escribe `finished = True`: la celda cierra el clúster y comprueba que no queda nada.

# %% [markdown] lang="en"
# When you have finished, write `finished = True`: the cell closes the cluster and checks that nothing is left.

# %%
finished = False
lesson.keep("cluster", until=finished)
lesson.end()

# %% [markdown] lang="es" teacher=true
# **Tres niveles.** Lo imprescindible se hace solo con el panel, en un cuarto de hora. El objetivo pide leer la
# historia de una tarea. Ir más allá pide leer la tabla de mensajes de `PROTOCOL.md`, y prepara los ejercicios
# de este día.

# %% [markdown] lang="en" teacher=true
# **Three levels.** The must needs only the panel and a quarter of an hour. The target requires reading a task's
# story. The stretch requires reading the table of messages in `PROTOCOL.md`, and prepares this day's exercises.
