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
# **Antes de clase.** Ejecuta el cuaderno entero una vez en la máquina desde la que proyectas (`Run` → `Run
# All Cells`): tarda cerca de un minuto, y hasta tres si la
# máquina hace otras cosas. Después `Kernel` → `Restart Kernel and Clear Outputs of All
# Cells`. Ten abiertas dos ventanas: este cuaderno y, si usas el tuyo propio, una terminal con
# `python3 lab.py status --watch`.
#
# **Para que se vea desde la última fila.** Amplía el navegador al 125 % (`Ctrl` y `+`) y cierra la barra de
# archivos (`Ctrl` y `B`). El panel está al principio del cuaderno y en el bloque 3 querrás verlo mientras
# corren otras celdas: botón derecho sobre él y `Create New View for Cell Output`. Se abre debajo, igual de
# vivo; baja el borde hasta que se vean las tarjetas, y ciérralo para las gráficas.
#
# **La idea del día en una frase.** Nadie puede impedir que una máquina falle; se puede conseguir que a nadie
# le importe.
#
# **Una palabra prohibida hoy: «error».** Un worker muerto es un *fallo*; una tarea que lanza una excepción
# tiene un *desenlace*, como cualquier otra. Una parada educada no es ninguna de las dos cosas. La palabra se
# guarda para lo que está mal en un programa: la caza del final.
#
# **El reloj** de abajo cuenta también el silencio y las preguntas. Lo que no cabe está en la hora libre: si vas
# tarde, no corras, salta a la comprobación del minuto 35.
#
# **Sin Docker.** No cambia nada: en la hora libre, la celda de contenedores dice por qué se salta y se sigue.

# %% [markdown] lang="en" teacher=true
# **Before class.** Run the whole notebook once on the machine that you project from (`Run` → `Run All
# Cells`): it takes about a minute, and up to three if the machine does other things. Then `Kernel` →
# `Restart Kernel and Clear Outputs of All Cells`. Keep two windows open: this notebook and, if you use a
# cluster of your own, a terminal with `python3 lab.py status --watch`.
#
# **So that the back row sees it.** Zoom the browser to 125 % (`Ctrl` and `+`) and close the file browser
# (`Ctrl` and `B`). The panel is at the top of the notebook, and in block 3 you will want to see it while other
# cells run: right-click on it, `Create New View for Cell Output`. It opens below, as alive as the first; pull
# its border down until the cards show, and close it for the charts.
#
# **The day's idea in one sentence.** Nobody can keep a machine from failing; one can see to it that nobody
# minds.
#
# **A forbidden word today: "error".** A dead worker is a *fault*; a task that raises an exception has an
# *outcome*, as any other has. A polite stop is neither. What is wrong in a program is a *bug*: that is for the
# hunt at the end.
#
# **The clock** below counts the silence and the questions too. What does not fit is in the free hour: if you are
# late, do not run, go to the check of minute 35.
#
# **Without Docker.** Nothing changes: in the free hour the cell about containers says why it is skipped.

# %% [markdown] lang="es"
# ## Matar y recuperar · 0–10 min
#
# Tres **workers** que calculan, un **broker** en medio que les reparte las tareas y un panel para verlos. Cada
# tarjeta dice dos cosas que no siempre coinciden: qué hace el proceso y qué opina de él el broker.
# (`lesson.open` llama a `open_cluster`; si ejecutas la celda otra vez, cierra antes lo que había abierto.)

# %% [markdown] lang="en"
# ## Kill and recover · 0–10 min
#
# Three **workers** that compute, a **broker** in the middle that hands them the tasks, and a panel to watch
# them. Each card says two things that do not always agree: what the process does, and what the broker thinks of
# it. (`lesson.open` calls `open_cluster`; if you run the cell again, it first closes what it had opened.)

# %%
from labkit.classroom import begin, gap, show, source

lesson = begin("{{lang}}")

# %%
from labkit import charts, open_cluster

cluster = lesson.open("cluster", open_cluster, workers=3, backend="local")
cluster.panel()

# %% [markdown] lang="es"
# Vamos a enviar ciento veinte tareas y, a media faena, matar a `worker-2` con `kill -9`: sin aviso y con una
# tarea a medias. **Apuesta**: ¿cuántos segundos pasarán hasta que otro entregue lo que él tenía?

# %% [markdown] lang="en"
# We are going to send a hundred and twenty tasks and, in the middle of it, kill `worker-2` with `kill -9`:
# without warning, and with a task half done. **Bet**: how many seconds until somebody else delivers what it held?

# %%
guess_recovery = 5.0

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
# The interrupted task went back to the front of the queue, and another worker finished it. Your bet beside
# what was measured:

# %%
from labkit.support.timing import Timing

chain = history.recoveries()[0]
row = charts.Guessed("kill", guess_recovery, Timing((chain.recovery_s,)))
show(charts.guesses, [row])
gap(row)

# %% [markdown] lang="es"
# La cadena entera, eslabón a eslabón. El broker lo supo en milésimas: al morir el proceso, el sistema
# operativo cerró su conexión. El último eslabón dependía de nosotros: el ritmo de antes vuelve cuando vuelve
# `worker-2`.

# %% [markdown] lang="en"
# The whole chain, link by link. The broker knew within milliseconds: when the process died, the operating
# system closed its connection. The last link was up to us: the former pace is back when `worker-2` is back.

# %%
show(charts.recovery, history)

# %% [markdown] lang="es"
# Ciento veinte tareas, ciento veinte resultados, ninguno repetido. El número de en medio dice cuántas volvieron
# a la cola: la que `worker-2` calculaba y, si ya la tenía, la siguiente. `check` repasa toda la historia en busca
# de promesas rotas; una lista vacía es la buena noticia.

# %% [markdown] lang="en"
# A hundred and twenty tasks, as many results, none of them twice. The number in the middle says how many went
# back to the queue: the one that `worker-2` was computing and, if it held it already, the next one. `check` goes
# through the whole history looking for broken promises; an empty list is the good news.

# %%
history.counts()["done"], history.counts()["requeued"], history.check()

# %% [markdown] lang="es" teacher=true silent=1
# **Di.** Retoma la tercera pregunta de ayer: allí un proceso muerto rompía el grupo entero. Antes de que nadie
# pulse nada, que cada cual escriba la apuesta de la celda que viene. Abre el panel y
# calla un minuto: alguien de la clase pulsa `enviar trabajo`, `matar` en `worker-2`, mira qué pasa y pulsa
# `iniciar` (la celda que viene lo necesita en pie) y otra vez `enviar trabajo`, que así para. Después de la
# gráfica: «Acaban de matar un servidor en pleno trabajo y nadie ha perdido nada. El resto de la clase
# es para entender por qué.» La tarjeta `redis` espera al bloque 2. En la gráfica, la zona sombreada es el
# tiempo sin `worker-2`.
#
# **Pregunta.** ¿Por qué el rendimiento baja a dos tercios y no a cero? (Quedan dos de los tres, y siguen
# trabajando.)
#
# **Te preguntarán** por qué tarda un cuarto de segundo si la tarea dura 0,1 s y vuelve la primera a la cola: los
# otros dos acaban antes la que calculan y la siguiente, que ya tenían.
#
# **Si falla.** Si `open_cluster` dice que un worker no está listo, la máquina va muy cargada: cierra otros
# cuadernos (`Kernel` → `Shut Down All Kernels`) y repite la celda, que cierra antes lo que había abierto. Si
# alguien reinicia el kernel, el panel viejo se cubre con un aviso al cabo de unos segundos: hay que ejecutar
# desde arriba. Mientras se ejecuta una celda el panel sigue vivo, pero los clics esperan a que acabe.

# %% [markdown] lang="en" teacher=true silent=1
# **Say.** Go back to yesterday's third question: there one dead process broke the whole pool. Before anybody
# presses anything, everybody writes down the bet of the next cell. Open the panel
# and be silent for a minute: somebody in class presses `send work`, `kill` on `worker-2`, sees what happens,
# and presses `start` (the next cell needs it up) and `send work` again, which stops it. After the chart: "You
# have just killed a server in the middle of its work, and nobody lost anything. The rest of the lesson is for
# understanding why." The card `redis` can wait until block 2. In the chart, the shaded zone is the time without
# `worker-2`.
#
# **Ask.** Why does the throughput fall to two thirds and not to zero? (Two of the three are left, and go on
# working.)
#
# **They will ask** why it takes a quarter of a second if the task takes 0.1 s and is the first in the queue again:
# the other two finish the one they compute and the next, which they held already.
#
# **If it goes wrong.** If `open_cluster` says that a worker is not ready, the machine is very busy: close
# other notebooks (`Kernel` → `Shut Down All Kernels`) and run the cell again, which first closes what it had
# opened. If somebody restarts the kernel, the old panel is covered by a notice after some seconds: run from
# the top. While a cell runs the panel stays alive, but clicks wait for its end.

# %% [markdown] lang="es"
# ## Bloque 1. Los mensajes, uno a uno · 10–19 min
#
# Broker y workers hablan con **ZeroMQ**. Un `ROUTER` tiene muchas conexiones y a cada mensaje que llega le
# pone delante de quién viene; un `DEALER` no añade nada y envía y recibe cuando quiere, sin esperar turno.
# Aquí están los dos, sin nada más; uno saluda y el otro contesta:

# %% [markdown] lang="en"
# ## Block 1. The messages, one by one · 10–19 min
#
# Broker and workers speak **ZeroMQ**. A `ROUTER` has many connections, and puts in front of each message that
# arrives whom it is from; a `DEALER` adds nothing, and sends and receives whenever it likes, without waiting
# for its turn. Here are the two of them, with nothing else; one says hello and the other answers:

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
# El `DEALER` envió una **trama** y al `ROUTER` le llegaron dos: delante va la **ruta**, el nombre que él le
# puso a esa conexión. Para contestar, la ruta va otra vez delante, y el `ROUTER` la quita.
#
# **Ahora el worker eres tú**, con un broker de verdad que no tiene ninguno. Alguien ha pedido `add(20, 22)` y
# espera. Preséntate, recibe la tarea, avisa de que empiezas, calcúlala y entrega. **Apuesta**: ¿cuántos bytes
# intercambiarán en total el broker y tú?

# %% [markdown] lang="en"
# The `DEALER` sent one **frame**, and two arrived at the `ROUTER`: the first is the **route**, the name that it
# gave to that connection. To answer, the route goes in front again, and the `ROUTER` takes it off.
#
# **Now you are the worker**, of a real broker that has none. Somebody has asked for `add(20, 22)` and is waiting.
# Say hello, take the task, announce that you begin, compute it, and deliver. **Bet**: how many bytes will you and
# the broker say to each other altogether?

# %%
guess_bytes = 2000

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
# tramas grandes (las fotos), que el broker reenvía sin mirarlas. No ha notado ninguna diferencia: un worker es
# quien habla este protocolo, esté escrito en lo que esté.
#
# **Punto de control**: entregaste 42, y quien lo pidió sabe que fue `by-hand`.

# %% [markdown] lang="en"
# Each line is an **envelope**: a single frame with one or more small messages inside. Behind it, if there are
# any, come the large frames (the photos), which the broker forwards without looking. It has not noticed any
# difference: a worker is whoever speaks this protocol, whatever it is written in.
#
# **Checkpoint**: you delivered 42, and whoever asked for it knows that it was `by-hand`.

# %%
answered, asked = question.finish(), future.task_id
empty.close()
lesson.checkpoint(1, (answer, future.worker) == (42, "by-hand"))

# %% [markdown] lang="es" teacher=true
# **Di.** «Todo lo que hace este laboratorio, incluido recuperarse de una muerte, son mensajes como estos.» Lee
# la tabla en voz alta como si fuera un diálogo, de arriba abajo. De los campos bastan tres: `task` (qué tarea),
# `attempt` (qué intento) y `epoch` (un número al azar nuevo en cada saludo; por él se sabe que quien vuelve no
# es el de antes).
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
# **Si falla.** Si una celda dice que esperó un mensaje en vano, alguien ejecutó solo la mitad de la
# conversación: se repite desde `lesson.open("empty", …)`. Quien calla dos segundos está muerto para el
# broker; por eso la conversación entera cabe en una celda. Los 6 s de `patience_s` son otra cosa: lo que
# espera el worker a un broker callado.

# %% [markdown] lang="en" teacher=true
# **Say.** "Everything that this lab does, recovering from a death included, is messages like these." Read the
# table aloud as if it were a dialogue, from top to bottom. Three of the fields are enough: `task` (which task),
# `attempt` (which attempt) and `epoch` (a random number, new with each hello; it tells that who returns is not
# the former one).
#
# **Ask.** Why does `Task` carry the number of an attempt? (To tell its result from that of an earlier
# attempt, which may come late.)
#
# **If there is time.** The client makes up the task's id. Why not the broker? (So that it can ask again without
# its being done twice.)
#
# **They will ask** what the odd bytes of the route are: a zero and a number that the `ROUTER` makes up for each
# connection.
#
# **If it goes wrong.** If a cell says that it waited for a message in vain, somebody ran only half of the
# conversation: run again from `lesson.open("empty", …)`. Whoever is silent for two seconds is dead to the
# broker; that is why the whole conversation is in one cell. The 6 s of `patience_s` are another thing: how long
# the worker waits for a silent broker.

# %% [markdown] lang="es"
# ## Bloque 2. ¿A quién le toca? · 19–28 min
#
# Elegir worker es una función de una línea; aquí hay dos, tal como están en el laboratorio. `round_robin`
# escoge al que hace más que no le toca, por ocupado que esté; `least_busy`, al que menos tareas tiene a medias
# y, de los que empatan, al que hace más que no se usa.

# %% [markdown] lang="en"
# ## Block 2. Whose turn is it? · 19–28 min
#
# Choosing a worker is a function of one line; here are two, as they stand. `round_robin` takes the one whose
# last turn was longest ago, however busy it is; `least_busy` the one with the fewest tasks in flight and, among
# equals, the one used longest ago.

# %%
from labkit.core.broker.policies import least_busy, round_robin

source(round_robin)
source(least_busy)

# %% [markdown] lang="es"
# Llega una tarea cada 0,12 s. De cada cinco, una es larga (0,7 s) y cuatro son cortas (0,05 s); tres workers
# dan de sobra. **Apuesta**: ¿cuánto esperará, con cada política, la tarea que más espere?

# %% [markdown] lang="en"
# A task arrives every 0.12 s. One in five is long (0.7 s) and four are short (0.05 s); three workers are more
# than enough. **Bet**: with each policy, how long will the task wait that waits longest?

# %%
guess_wait = {"round_robin": 0.2, "least_busy": 0.2}

# %%
uneven = 5 * [0.7, 0.05, 0.05, 0.05, 0.05]
by_policy = {}
for policy in guess_wait:
    with open_cluster(workers=3, policy=policy, redis=False) as three:
        by_policy[policy] = send(three, uneven, every_s=0.12).finish()
show(charts.waits, by_policy, guess_wait)
for name, run in by_policy.items():
    gap(charts.Guessed(name, guess_wait[name], charts.longest_wait(run)))

# %% [markdown] lang="es"
# Por turnos, a una tarea corta le puede tocar ponerse detrás de una larga aunque haya workers mirando al
# techo. El menos ocupado no lo permite (si aun así ves ahí alguna espera, la máquina se paró un momento).
# Fíjate en la mediana: en las dos son milésimas. **La mediana no enseña a quien le tocó esperar**; mira la más
# larga.
#
# ### El registro, y su reflejo en Redis
#
# El broker lleva en su memoria la lista de workers y sus latidos. En Redis hay una copia para quien quiera
# mirar: `redis-cli HGETALL workers`.

# %% [markdown] lang="en"
# Taking turns, a short task may find itself behind a long one although there are workers staring at the
# ceiling. The least busy does not let that happen (if you see a wait there all the same, the machine paused for
# a moment). Look at the median: milliseconds with both. **The median does not show who had to wait**; look at the
# longest.
#
# ### The registry, and its mirror in Redis
#
# The broker keeps the list of workers and their heartbeats in its memory. In Redis there is a copy for whoever
# wants to look: `redis-cli HGETALL workers`.

# %%
from labkit.classroom.registry import Registry

registry = Registry(cluster)
registry.beside_broker()

# %% [markdown] lang="es"
# Algo roto a propósito: `FLUSHALL` borra Redis entero, con cuarenta tareas enviadas. ¿Se perderá alguna?
# **Apuesta**: ¿cuántos segundos pasarán hasta que Redis enseñe otra vez los tres workers?

# %% [markdown] lang="en"
# Something broken on purpose: `FLUSHALL` wipes all of Redis, with forty tasks submitted. Will any be lost?
# **Bet**: how many seconds until Redis shows all three workers again?

# %%
guess_healed = 5.0

# %%
work = send(cluster, 40 * [0.1])
work.until_done(0.2)
shown_after_flush = registry.flush()
healed = Timing((registry.until_whole(),))
lost = 40 - work.finish().counts()["done"]
show(charts.guesses, [charts.Guessed("healed", guess_healed, healed)])
shown_after_flush, lost

# %% [markdown] lang="es"
# Los dos números: cuántos workers enseñaba Redis tras el borrado, y cuántas tareas se perdieron. **Redis es una
# imagen, nunca la verdad**: el broker no la lee, y en cuanto nota que falta, la escribe otra vez entera.
#
# **Punto de control**: con las dos políticas acabaron todas las tareas, y el borrado no costó ninguna.

# %% [markdown] lang="en"
# The two numbers: how many workers Redis showed after the wipe, and how many tasks were lost. **Redis is a
# picture, never the truth**: the broker does not read it and, as soon as it notices that it is gone, writes all
# of it again.
#
# **Checkpoint**: with both policies every task ended, and the wipe cost none.

# %%
registry.close()
ended = [history.counts()["done"] for history in by_policy.values()]
lesson.checkpoint(2, ended == [len(uneven)] * 2 and lost == 0)

# %% [markdown] lang="es" teacher=true
# **Di.** La gráfica de esperas se lee de abajo arriba: casi todos los puntos juntos y unos pocos lejísimos.
#
# **Si sobra tiempo.** Si todas las tareas llegan a la vez, ¿cambia algo la política? (Casi nada: un worker nunca
# tiene más que la tarea que calcula y la siguiente; lo demás espera en el broker, y la política decide tarde.)
#
# **Te preguntarán** por qué el latido de Redis es más viejo que el del broker: es una copia y, mientras no cambia
# nada, se renueva de vez en cuando. Y por qué las tareas terminadas no suman ciento veinte: las que `worker-2` hizo
# antes de morir se fueron con él; el que volvió es otro y cuenta desde cero. En una terminal, a `redis-cli -u` le
# hace falta lo que diga `cluster.redis_url`.
#
# **Si falla.** Sin Redis (Windows), las celdas del registro lo dicen y siguen. Si la gráfica de
# `least_busy` enseña alguna espera larga, la máquina se paró un momento: mira cuántas son, no cuál.

# %% [markdown] lang="en" teacher=true
# **Say.** Read the chart of the waits from the bottom up: nearly all points together, and a few of them far
# away.
#
# **If there is time.** If all tasks come at once, does the policy change anything? (Hardly: a worker never holds
# more than the task it computes and the next one; the others wait at the broker, and the policy decides late.)
#
# **They will ask** why the heartbeat in Redis is older than the broker's: it is a copy and, while nothing
# changes, renewed now and then. And why the tasks done do not add up to a hundred and twenty: those that `worker-2`
# did before it died went with it; the one that came back is another, and counts from zero. In a terminal,
# `redis-cli -u` wants what `cluster.redis_url` says.
#
# **If it goes wrong.** Without a Redis (Windows), the cells about the registry say so and go on. If the chart
# shows a long wait for `least_busy`, the machine paused for a moment: look at how many there are, not at
# which.

# %% [markdown] lang="es"
# ## Bloque 3. Cuatro maneras de faltar · 28–35 min
#
# Un worker puede faltar de cuatro maneras: **cae** (`kill`), **se congela** (`pause`: el proceso sigue ahí, sin
# hacer nada), va **lento**, o se le pide que **pare con educación** (`stop`). La caída ya la tienes, del
# principio. **Apuesta**: ¿cuántos segundos tardará el broker en dar por perdido al congelado?

# %% [markdown] lang="en"
# ## Block 3. Four ways of being absent · 28–35 min
#
# A worker can be absent in four ways: it **crashes** (`kill`), it **freezes** (`pause`: the process is still
# there, and does nothing), it is **slow**, or it is asked to **stop politely** (`stop`). The crash you have
# already, from the beginning. **Bet**: how many seconds will the broker take to give the frozen one up as lost?

# %%
guess_frozen = 1.0
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

# %%
show(charts.absences, absent)

# %% [markdown] lang="es"
# Lee los cuatro carriles de arriba abajo:
#
# * **Caída**: se cierra la conexión y el broker lo sabe al momento.
# * **Congelado**: la conexión sigue abierta y nadie avisa. Solo el **silencio** lo delata: al segundo es
#   sospechoso, a los dos está perdido. Al despertar se le dice que ha *caducado* y entra como worker nuevo.
# * **Lento**: late, luego vive. El broker no lo da por perdido; simplemente le tocan menos tareas.
# * **Parada educada**: termina lo que tiene, devuelve lo que no empezó y se despide. **No es un fallo.**
#
# **Punto de control**: las cuatro veces acabaron todas las tareas, sin una sola promesa rota.

# %% [markdown] lang="en"
# Read the four lanes from top to bottom:
#
# * **Crash**: the connection closes, and the broker knows at once.
# * **Freeze**: the connection stays open, and nobody says a word. Only its **silence** betrays it: after one
#   second it is suspect, after two it is lost. On waking it is told that it is *stale*, and joins as a new
#   worker.
# * **Slow**: it beats, so it lives. The broker does not give it up; it merely gets fewer tasks.
# * **Polite stop**: it finishes what it holds, gives back what it has not begun, and says goodbye. **That is
#   no fault.**
#
# **Checkpoint**: all four times every task ended, without a single broken promise.

# %%
broken = [name for name, history in absent.items() if history.check()]
lesson.checkpoint(3, not broken and len(absent) == 4)

# %% [markdown] lang="es" teacher=true
# **Di.** «Un muerto no puede volver tarde; un congelado, sí.» Es la frase del bloque: de ahí salen las épocas,
# los intentos numerados y el «caducado». Con el panel abierto debajo, que la clase mire la tarjeta de
# `worker-2` mientras corre cada celda.
#
# **Pregunta.** ¿Podría el broker distinguir un congelado de un cable desconectado? (No: solo oye silencio.)
#
# **Si sobra tiempo.** ¿Por qué no esperar solo 0,1 s antes de darlo por muerto? (Cualquier pausa de la
# máquina parecería una muerte, y el trabajo se haría dos veces.) ¿Qué pasa con el resultado que el congelado
# tenía a medias cuando despierta? (El primero válido gana; el otro se cuenta y se tira. Aquí suele ganar el
# suyo, que llega antes que el segundo intento: por eso la tabla dice 0 tardíos.)
#
# **Si falla.** En una máquina muy cargada el «lento» puede llegar a callar más de un segundo y salir como
# sospechoso: es correcto, y es una buena conversación. Si una celda se interrumpe a medias, ejecuta
# `cluster.status()` y arranca o reanuda desde el panel lo que falte. Si una celda espera a un worker, o a un
# broker, que alguien ha matado o congelado, lo dice en unos segundos, con lo que hay que hacer.

# %% [markdown] lang="en" teacher=true
# **Say.** "The dead cannot come back late; the frozen can." That is the sentence of this block: epochs,
# numbered attempts and "stale" all come from it. With the panel open below, let the class watch the card of
# `worker-2` while each cell runs.
#
# **Ask.** Could the broker tell a frozen worker from an unplugged cable? (No: it hears only silence.)
#
# **If there is time.** Why not wait for just 0.1 s before giving it up? (Any pause of the machine would look
# like a death, and work would be done twice.) What becomes of the result that the frozen one had half done when
# it wakes? (The first valid one wins; the other is counted and dropped. Here it is mostly its own, which comes
# before the second attempt's: so the table says 0 late.)
#
# **If it goes wrong.** On a very busy machine the "slow" one may be silent for more than a second and show
# up as suspect: that is right, and worth talking about. If a cell is interrupted half-way, run
# `cluster.status()` and start or resume from the panel what is missing. A cell that waits for a worker, or a
# broker, that somebody has killed or frozen says so within seconds, and what to do.

# %% [markdown] lang="es"
# ## Comprobación: a la caza de un error · 35–43 min
#
# Un worker hecho a mano recibe una tarea que dura 2,6 s, la calcula bien y la entrega. Pero el broker lo da por
# perdido. ¿Qué línea tiene la culpa, y por qué? En este código `time.sleep` hace de cálculo y dura lo que la
# tarea (`task_s`):

# %% [markdown] lang="en"
# ## Check: a bug hunt · 35–43 min
#
# A worker made by hand gets a task that takes 2.6 s, computes it right, and delivers it. But the broker gives it
# up as lost. Which line is to blame, and why? In this code `time.sleep` stands for the computing and lasts as
# long as the task (`task_s`):

# %%
from labkit.classroom import by_hand
from labkit.classroom.story import story

source(by_hand.one)

# %%
empty = lesson.open("empty", open_cluster, workers=0, redis=False)
question = Work(empty)
future = question.submit(add, 20, 22)
with Transcript(empty).worker("one") as me:
    by_hand.one(me, 2.6)
    result = future.result(timeout=10)
hunted = question.end()
story(hunted, future.task_id)

# %% [markdown] lang="es"
# El resultado es correcto y aun así algo fue mal: antes de que acabara, el broker lo dio por muerto. Con más
# workers, la tarea se habría hecho **dos veces**. Y ahora otro, que se distingue en una sola línea: no dice
# `time.sleep(task_s)`, sino `me.rest(task_s)`.

# %% [markdown] lang="en"
# The result is right, and still something went wrong: before it had finished, the broker took it for dead. With
# more workers the task would have been done **twice**. And now another one, which differs in a single line: it
# does not say `time.sleep(task_s)`, but `me.rest(task_s)`.

# %%
question = Work(empty)
future = question.submit(add, 20, 22)
with Transcript(empty).worker("other") as me:
    by_hand.other(me, 2.6)
    result = future.result(timeout=10)
mended = question.end()
empty.close()
{name: run.counts().get("lost", 0) for name, run in {"one": hunted, "other": mended}.items()}

# %% [markdown] lang="es"
# **El error**: mientras calculaba no latía; `rest` dura lo mismo, y late. En un worker de verdad los latidos
# salen del hilo que habla, nunca del que calcula; por eso una tarea larga no lo mata.
#
# ### Los objetivos del día, medidos
#
# Lo que prometía el día, medido con fotografías de verdad, varias veces, en un clúster nuevo de tres workers; uno
# muere y vuelve. Cada píxel se compara con el bucle sencillo.

# %% [markdown] lang="en"
# **The bug**: while it computed it did not beat; `rest` lasts as long, and beats. In a real worker the
# heartbeats come from the thread that talks, never from the one that computes; that is why a long task does not
# kill it.
#
# ### The day's targets, measured
#
# What the day had promised, measured with real photographs, several times, on a new cluster of three workers; one
# of them dies and comes back. Every pixel is compared with the plain loop's.

# %%
from labkit.classroom.targets import measure_targets

with open_cluster(workers=3, backend="local") as fresh:
    measured = measure_targets(fresh)
measured

# %% [markdown] lang="es" teacher=true silent=1.5
# **Di.** Un minuto y medio de silencio con el código en la pared. Quien lo vea, que no lo diga: que
# escriba qué línea y por qué.
#
# **Pregunta.** ¿Qué demuestra un latido? (Que el proceso vive; no que la tarea avance. Para eso está el plazo
# de cada intento.)
#
# **Si sobra tiempo.** ¿Qué objetivo de la tabla fallaría seguro si `worker-2` no volviera? (El de los tres
# activos. Perderse, no se perdería nada.)
#
# **Te preguntarán** por qué «17 % a 50 %»: el objetivo es un tercio cada uno, y se da por bueno si nadie se
# aparta más de la mitad de eso, o si a cada uno le tocó lo que su velocidad merecía: en una máquina ocupada un
# worker va más despacio y el menos ocupado le da menos, como debe; entonces la tabla lo dice. Y por qué aquí el broker puede tardar más en notar la muerte que al principio: los
# workers calculan de verdad y ocupan los núcleos.
#
# **Si falla.** Si la tabla dice `NO CUMPLIDO` en el reparto, la máquina cambió de ritmo a mitad de la medida (por
# ejemplo, porque otra cosa empezó a trabajar en ella). Vuelve a ejecutar la celda y compara.

# %% [markdown] lang="en" teacher=true silent=1.5
# **Say.** A minute and a half of silence with the code on the wall. Whoever sees it does not
# say it: they write down which line, and why.
#
# **Ask.** What does a heartbeat prove? (That the process lives; not that the task advances. That is what the
# lease of each attempt is for.)
#
# **If there is time.** Which target of the table would surely be missed if `worker-2` did not come back? (That
# all three are active. Nothing would be lost.)
#
# **They will ask** why "17 % to 50 %": the target is a third each, and it counts as met if nobody is off by
# more than half of that, or if each got what its speed deserved: on a busy machine one worker is slower, and the
# least busy gives it less, as it should; then the table says so. And why the broker may take longer here to notice the death than at the beginning:
# these workers really compute, and occupy the cores.
#
# **If it goes wrong.** If the table says `MISSED` about the shares, the machine changed its pace in the middle of
# the measurement (because something else began to work on it, say). Run the cell again and compare.

# %% [markdown] lang="es"
# ## Resumen y avance · 43–45 min
#
# **Tres hechos**
#
# 1. El broker guarda la tarea hasta tener su resultado; por eso la muerte de un worker cuesta tiempo y no datos.
# 2. Una conexión que se cierra avisa enseguida; de un silencio solo se sabe esperando.
# 3. Una tarea puede ejecutarse más de una vez, pero su desenlace se ve exactamente una.
#
# **Tres preguntas**
#
# 1. ¿Por qué un worker que vuelve entra como nuevo, aunque sea el mismo proceso?
# 2. ¿Qué perderías si el broker leyera su lista de workers de Redis?
# 3. ¿Quién vigila al broker, y quién decide cuántos workers hacen falta?
#
# La tercera es la de mañana, el día 4. Todo lo demás está en la [página de inicio](index.ipynb).

# %% [markdown] lang="en"
# ## Recap and preview · 43–45 min
#
# **Three facts**
#
# 1. The broker keeps a task until it has its result; so a worker's death costs time and no data.
# 2. A connection that closes tells at once; of a silence one learns only by waiting.
# 3. A task may be executed more than once, but its outcome is seen exactly once.
#
# **Three questions**
#
# 1. Why does a worker that returns join as a new one, even if it is the same process?
# 2. What would you lose if the broker read its list of workers from Redis?
# 3. Who watches the broker, and who decides how many workers are needed?
#
# The third is tomorrow's, day 4. Everything else is on the [start page](index.ipynb).

# %% [markdown] lang="es" teacher=true silent=1
# **Di.** Una pareja, una pregunta, una frase. La primera: mientras callaba, lo suyo volvió a la cola, así que
# empieza de cero y nadie, tampoco él, cree que aún lo tiene. La segunda: todos los workers, con cada borrado y
# con cada caída de Redis. No resuelvas la tercera: mañana empieza por ella.

# %% [markdown] lang="en" teacher=true silent=1
# **Say.** One pair, one question, one sentence. The first: while it was silent, what it held went back to the
# queue, so it begins anew, and nobody, itself included, believes that it still has it. The second: all the
# workers, with each wipe and each fall of Redis. Do not resolve the third: tomorrow begins with it.

# %% [markdown] lang="es"
# ## La hora libre
#
# Aquí acaban los 45 minutos guiados. Quien tenga una hora sigue desde aquí, sin profesor, celda a celda: primero
# unos vistazos más al mismo clúster y, al final, el panel para ti.
#
# ### Capacidades
#
# No todos saben hacer de todo. Aquí solo `worker-3` sabe enfocar; los otros dos desenfocan.

# %% [markdown] lang="en"
# ## The free hour
#
# Here the 45 guided minutes end. Whoever has an hour goes on from here, without a teacher, cell by cell: first
# some more looks at the same cluster and, at the end, the panel for you.
#
# ### Capabilities
#
# Not everybody can do everything. Here only `worker-3` can sharpen; the other two blur.

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
# ¿Y si nadie sabe? La tarea espera a que llegue alguien que sepa, pero no para siempre: aquí, un segundo.

# %% [markdown] lang="en"
# And if nobody can? The task waits for somebody who can, but not for ever: here, one second.

# %%
unable = Work(special)
nobody = unable.submit(process_image, photo, parse_steps(["edges"]), deadline_s=1.0)
error = nobody.exception(timeout=20)
unable.end()
special.close()
type(error).__name__

# %% [markdown] lang="es"
# ### Ahora, de cliente
#
# En el bloque 1 hiciste de worker. El otro lado se habla igual: saluda, envía `add(1, 2)` y escucha.

# %% [markdown] lang="en"
# ### Now as a client
#
# In block 1 you played a worker. The other side is spoken in the same way: say hello, submit `add(1, 2)`, and
# listen.

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
# A unos les salen cinco mensajes y a otros seis: si el resultado tarda más de 5 ms, el broker manda antes un
# `Accepted`; si no, el resultado vale por los dos. Así está hecho el `Submit`, byte a byte:

# %% [markdown] lang="en"
# Some see five messages and others six: if the result takes more than 5 ms, the broker first sends an `Accepted`;
# otherwise the result stands for both. This is how the `Submit` is made, byte by byte:

# %%
as_client.anatomy(m.Submit)

# %% [markdown] lang="es"
# ### Un worker, como está en Redis
#
# Lo que contesta `redis-cli HGET workers worker-1`. ¿Qué campo cambia si lo miras otra vez al cabo de un segundo?
# (Cuántas tareas esperan lo dice `redis-cli LLEN image_tasks`.)

# %% [markdown] lang="en"
# ### A worker, as it stands in Redis
#
# What `redis-cli HGET workers worker-1` answers. Which field changes if you look again a second later?
# (How many tasks wait is told by `redis-cli LLEN image_tasks`.)

# %%
registry = Registry(cluster)
registry.raw("worker-1")
registry.close()

# %% [markdown] lang="es"
# ### Lo que el broker apuntó
#
# La historia de la tarea que hiciste a mano en el bloque 1, como la vio el broker:

# %% [markdown] lang="en"
# ### What the broker wrote down
#
# The story of the task that you did by hand in block 1, as the broker saw it:

# %%
story(answered, asked)

# %% [markdown] lang="es"
# ### El congelado y el lento, de cerca
#
# La cadena de recuperación del congelado, para compararla con la del principio. El «otro worker» puede ser él
# mismo: al volver entró como uno nuevo.

# %% [markdown] lang="en"
# ### The frozen one and the slow one, closely
#
# The recovery chain of the frozen one, to compare it with the first one of today. "Elsewhere" may be itself: when
# it came back, it joined as a new worker.

# %%
show(charts.recovery, absent["freeze"])

# %% [markdown] lang="es"
# Al lento le tocó menos, sin que nadie lo decidiera: cada vez que el broker busca al menos ocupado, él
# todavía está con lo anterior.

# %% [markdown] lang="en"
# The slow one got less, and nobody decided that: whenever the broker looks for the least busy, it is still at
# its last task.

# %%
show(charts.share, absent["slow"])

# %% [markdown] lang="es"
# ### Lo mismo en contenedores
#
# El clúster de hoy son procesos (`backend="local"`). Donde hay Docker puede vivir en contenedores
# (`backend="compose"`), y las llamadas no cambian. Donde no lo hay, la celda lo dice y no pasa nada.

# %% [markdown] lang="en"
# ### The same in containers
#
# Today's cluster is processes (`backend="local"`). Where there is Docker it can live in containers
# (`backend="compose"`), and the calls do not change. Where there is none, the cell says so, and nothing is
# missing.

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
# **Di.** Con Docker, esto es `docker-compose kill worker-2` y `docker-compose start worker-2`. Sin Docker no se
# pierde nada: no se aprende nada distinto.

# %% [markdown] lang="en" teacher=true
# **The cell about containers.** If you want it, before class: `python3 lab.py up --backend compose` builds the
# images once, with a network and in some minutes; without them the cell is skipped.
#
# **Say.** With Docker this is `docker-compose kill worker-2` and `docker-compose start worker-2`. Without it
# nothing is missed: there is nothing else to be learned here.

# %% [markdown] lang="es"
# ### Rompe lo que quieras
#
# El panel otra vez, ahora con trabajo continuo. Rompe lo que quieras; la última celda lo recoge todo.
#
# * **Imprescindible**: mata a dos de los tres workers. Antes, apuesta cuánto bajará el rendimiento. ¿Qué pasa
#   si matas a los tres y después arrancas uno?
# * **Objetivo**: mata al `broker` con el panel mientras hay trabajo y vuelve a iniciarlo. ¿Por qué no se pierde
#   nada? Búscalo en `story(cluster.history(), "…")`, donde van los primeros seis signos de una tarea que estuviera
#   en marcha: el registro del panel los enseña.
# * **Para ir más allá**: haz de worker que devuelve: recibe una tarea con `Transcript` y contesta
#   `m.Returned(task.task, task.attempt)`. ¿Quién la hace después? ¿Y si contestas dos veces `m.Done`?

# %% [markdown] lang="en"
# ### Break what you like
#
# The panel again, now with a steady stream of work. Break what you like; the last cell tidies everything up.
#
# * **Must**: kill two of the three workers. Bet first how far the throughput will fall. What happens if you
#   kill all three and then start one?
# * **Target**: kill the `broker` on the panel while there is work, and start it again. Why is nothing lost?
#   Look for it in `story(cluster.history(), "…")`, with the first six characters of a task that was under way:
#   the panel's log shows them.
# * **Stretch**: play a worker that gives back: take a task with `Transcript` and answer
#   `m.Returned(task.task, task.attempt)`. Who does it afterwards? And if you say `m.Done` twice?

# %%
cluster.panel(work=True)

# %% [markdown] lang="es"
# Cuando acabes, cierra el clúster. La última línea comprueba que no queda nada:

# %% [markdown] lang="en"
# When you have finished, close the cluster. The last line checks that nothing is left:

# %%
cluster.close()
lesson.end()

# %% [markdown] lang="es" teacher=true
# **Tres niveles.** Lo imprescindible se hace solo con el panel, en un cuarto de hora. El objetivo pide leer la
# historia de una tarea. Ir más allá pide leer la tabla de mensajes de `PROTOCOL.md`, y prepara los ejercicios
# de este día.

# %% [markdown] lang="en" teacher=true
# **Three levels.** The must needs only the panel and a quarter of an hour. The target asks for reading a
# task's story. The stretch asks for a look into the table of messages of `PROTOCOL.md`, and prepares this
# day's exercises.
