# %% [markdown] lang="es"
# # Día 1. Hilos: esperar muchas cosas a la vez
#
# **Al acabar sabrás** cuándo los hilos ahorran tiempo, hasta cuántos sirven, y por qué dos hilos que tocan la
# misma variable necesitan ponerse de acuerdo.
#
# **Duración**: 45 minutos guiados y una hora libre. **Antes de empezar**: saber leer un bucle `for` y una
# función de Python. **Sin Docker**: hoy no hace falta; todo ocurre dentro de este cuaderno.

# %% [markdown] lang="en"
# # Day 1. Threads: waiting for many things at once
#
# **Afterwards you know** when threads save time, how many of them help, and why two threads that touch the
# same variable need to coordinate.
#
# **Time**: 45 guided minutes and one free hour. **Before you begin**: you can read a `for` loop and a Python
# function. **Without Docker**: not needed today; everything happens inside this notebook.

# %% [markdown] lang="es" teacher=true
# **Antes de clase.** Ejecuta el cuaderno entero una vez en la máquina desde la que proyectas (`Run` → `Run
# All Cells`): tarda menos de medio minuto. Después `Kernel` → `Restart Kernel and Clear Outputs of All
# Cells`, para que los resultados no se vean antes de apostar. Pide a cada estudiante que ejecute
# `python3 lab.py doctor`.
#
# **La idea del día en una frase.** Un hilo que espera no gasta procesador: por eso muchos hilos pueden
# esperar a la vez aunque haya pocos núcleos.
#
# **Sin Docker.** Nada cambia: este día no lo usa.

# %% [markdown] lang="en" teacher=true
# **Before class.** Run the whole notebook once on the machine that you project from (`Run` → `Run All Cells`): it
# takes less than half a minute. Then `Kernel` → `Restart Kernel and Clear Outputs of All Cells`, so that the results
# stay hidden until the bets are made. Ask each student to run `python3 lab.py doctor`.
#
# **The day's idea in one sentence.** A waiting thread uses no processor time: many threads can wait at once, even
# on few cores.
#
# **Without Docker.** Nothing changes: this day does not use it.

# %% [markdown] lang="es"
# ## Repaso y una primera victoria · 0–5 min
#
# Un **proceso** es un programa en marcha, con su propia memoria. Un **hilo** es una línea de ejecución dentro
# de un proceso; los hilos de un proceso comparten toda su memoria.

# %% [markdown] lang="en"
# ## Recap and a first win · 0–5 min
#
# A **process** is a running program with a memory of its own. A **thread** is one line of execution inside a
# process; the threads of a process share all of its memory.

# %%
from labkit.classroom import begin, faster, gap, show, starting_bet

lesson = begin("{{lang}}")

# %%
from concurrent.futures import ThreadPoolExecutor, as_completed

from labkit import charts
from labkit.imaging import image_files
from labkit.practice.slow_server import fetch, open_slow_server
from labkit.support.timing import Recording, Timing, doublings, in_threads, measured, measured_over

# %% [markdown] lang="es"
# Este servidor web es nuestro, vive en este cuaderno y es lento a propósito: espera antes de enviar cada
# foto, como un servidor lejano.

# %% [markdown] lang="en"
# This web server is ours, it lives in this notebook, and it is slow on purpose: it waits before it sends each
# photo, as a server far away would.

# %%
server = lesson.open("server", open_slow_server, latency_s=0.15)
names = server.names[:12]
urls = [server.url(name) for name in names]
urls[0]

# %% [markdown] lang="es"
# Doce fotos, ocho hilos, un parpadeo:

# %% [markdown] lang="en"
# Twelve photos, eight threads, the blink of an eye:

# %%
with ThreadPoolExecutor(8) as pool:
    files = list(pool.map(fetch, urls))
album = {name: image_files.decode(file) for name, file in zip(names, files)}
show(charts.pictures, album)

# %% [markdown] lang="es" teacher=true
# **Di.** «Acabas de hacer doce peticiones por la red sin esperar doce veces. Ahora vamos a entender por
# qué, y cuándo deja de funcionar.»
#
# **Pregunta.** ¿Qué comparten dos hilos del mismo programa que no comparten dos programas? (La memoria: las
# variables y todo aquello a lo que apuntan.)
#
# **Si falla.** Si la celda de `import` no encuentra `labkit`, el cuaderno no se abrió con `python3 lab.py lab`:
# ciérralo y ábrelo así.

# %% [markdown] lang="en" teacher=true
# **Say.** "You have just made twelve requests over the network without waiting twelve times. Now let us
# understand why, and when it stops working."
#
# **Ask.** What do two threads of one program share that two programs do not? (Their memory: the variables, and
# everything they refer to.)
#
# **If it goes wrong.** If the `import` cell does not find `labkit`, the notebook was not opened with
# `python3 lab.py lab`: close it, and open it that way.

# %% [markdown] lang="es"
# ## Bloque 1. De una en una o todas juntas · 5–15 min
#
# Primero la referencia: una foto detrás de otra. El servidor espera 0,15 s antes de enviar cada una, y son
# doce. **Apuesta antes de medir**: ¿cuántos segundos en total? Escribe tu número en lugar de `starting_bet(2.0)`.

# %% [markdown] lang="en"
# ## Block 1. One after the other, or all together · 5–15 min
#
# First the baseline: one photo after the other. The server waits 0.15 s before it sends each, and there are
# twelve. **Bet before you measure**: how many seconds altogether? Write your number in place of
# `starting_bet(2.0)`.

# %%
guess_one_by_one = starting_bet(2.0)

# %%
server.reset(latency_s=0.15)
one_by_one = measured(lambda: [fetch(url) for url in urls], runs=2, warm_up=0)
row = charts.Guessed("sequential", guess_one_by_one, one_by_one)
gap(row)

# %% [markdown] lang="es"
# Ahora con ocho hilos. Doce fotos entre ocho hilos: ¿cuántas rondas? **Apuesta:**

# %% [markdown] lang="en"
# Now with eight threads. Twelve photos among eight threads: how many rounds? **Bet:**

# %%
guess_eight_threads = starting_bet(0.5)

# %%
server.reset(latency_s=0.15)
eight_threads = measured(lambda: in_threads(8, fetch, urls), runs=5, warm_up=1)
rows = [row, charts.Guessed("threads", guess_eight_threads, eight_threads)]
show(charts.guesses, rows)

# %%
gap(rows[1])

# %% [markdown] lang="es"
# Doce fotos entre ocho hilos son dos rondas: dos esperas de 0,15 s, es decir, 0,3 s como mínimo. El resto es lo
# que cuesta crear hilos, abrir conexiones y copiar bytes: no es espera, así que no desaparece por esperar juntos.
#
# ¿Qué hacía cada hilo? Cada barra es una descarga:

# %% [markdown] lang="en"
# Twelve photos among eight threads are two rounds: two waits of 0.15 s, so at least 0.3 s. The rest is the cost
# of creating threads, opening connections and copying bytes: that is not waiting, so waiting together does not
# remove it.
#
# What did each thread do? Each bar is one download:

# %% holds="recording.most_at_once >= 2"
recording = Recording()
in_threads(8, recording.of(fetch), urls)
show(charts.timeline, recording.spans)

# %% [markdown] lang="es"
# Las barras se solapan: mientras una descarga espera, las demás también. Ningún hilo está calculando; por eso
# da igual cuántos núcleos tengas.
#
# **Punto de control**: ¿cuántas veces más rápido fue con ocho hilos que de una en una? Divide las dos medidas de tu
# tabla y escribe el resultado en lugar de `None`.

# %% [markdown] lang="en"
# The bars overlap: while one download waits, so do the others. No thread is computing, so the number of
# cores does not matter.
#
# **Checkpoint**: how many times as fast was it with eight threads as one after the other? Divide the two
# measurements of your table, and write the result in place of `None`.

# %%
times_as_fast = None
overlapped = len(album) == 12 and recording.most_at_once >= 2
ratio = one_by_one.median / eight_threads.median
lesson.checkpoint(1, overlapped, times_as_fast, ratio, within=0.05)

# %% [markdown] lang="es" teacher=true
# **Di.** Pide que apuesten en voz alta antes de cada medición y anota dos apuestas en la pizarra. Doce
# esperas seguidas suman; doce fotos entre ocho hilos son dos rondas.
#
# **Pregunta.** ¿Por qué el segundo resultado no es doce veces menor? (Doce fotos entre ocho hilos son dos
# rondas, y crear hilos y conexiones también cuesta.) ¿Qué pasaría con doce hilos? (Aquí, lo mismo: el bloque 2
# busca por qué; no lo digas aún.) ¿Y si la máquina tuviera un solo núcleo? (Lo mismo: esperar no ocupa el núcleo.)
#
# **Si falla.** En una máquina muy ocupada la barra medida es más larga: mira su dispersión, no el valor
# exacto. Si alguien ejecutó las celdas en desorden: `Kernel` → `Restart Kernel and Run up to Selected Cell`.

# %% [markdown] lang="en" teacher=true
# **Say.** Have the class bet aloud before each measurement and write two bets on the board. Twelve waits in a row
# add up; twelve photos among eight threads are two rounds.
#
# **Ask.** Why is the second result not a twelfth of the first? (Twelve photos among eight threads are two
# rounds, and creating threads and connections costs something, too.) What would twelve threads do? (Here, the
# same: block 2 looks for the reason; do not reveal it yet.) And on a machine with a single core? (The same: waiting
# does not occupy the core.)
#
# **If it goes wrong.** On a very busy machine the measured bar is longer: look at its spread, not at the
# exact value. If a student ran cells out of order: `Kernel` → `Restart Kernel and Run up to Selected Cell`.

# %% [markdown] lang="es"
# ## Bloque 2. ¿Cuántos hilos sirven? · 15–24 min
#
# Dieciséis fotos, y el servidor espera ahora 0,06 s por foto. Con un hilo son dieciséis esperas. **Apuesta** para
# cada número de hilos; la apuesta de partida supone que el doble de hilos tarda siempre la mitad. ¿Dónde no lo crees?
# Escribe la tuya, en segundos, en otra línea: `guess[16] = 0.1`.

# %% [markdown] lang="en"
# ## Block 2. How many threads help? · 15–24 min
#
# Sixteen photos, and the server now waits 0.06 s for each. With one thread that is sixteen waits. **Bet** for
# each number of threads; the starting bet assumes that twice the threads always take half the time. Where do you not
# believe it? Write yours, in seconds, in another line: `guess[16] = 0.1`.

# %%
server.reset(latency_s=0.06)
many = server.urls[:16]
counts = doublings(32)
guess = {n: starting_bet(16 * server.latency_s / n) for n in counts}

# %% holds="times[8].median < times[1].median / 3 and times[32].median > times[8].median / 2"
times = measured_over(counts, lambda n: in_threads(n, fetch, many), runs=3, warm_up=0)
show(charts.curve, {"fetch": times}, "threads", {"guess": guess})
faster({n: times[n] for n in (1, 8, 32)}, 1)

# %% [markdown] lang="es"
# Al principio la curva baja con los hilos. Después se aplana: más hilos ya no ayudan. ¿De dónde viene el límite?
# No de Python ni de tu procesador. Pregúntale al servidor cuántas peticiones llegó a atender a la vez:

# %% [markdown] lang="en"
# At first the curve falls with the threads. Then it flattens: more threads no longer help. What sets the limit? Neither
# Python nor your processor. Ask the server for the most requests that it ever served at once:

# %% holds="server.most_at_once == 8"
server.most_at_once

# %% [markdown] lang="es"
# El servidor atiende ocho a la vez; los demás hacen cola. **Cuántos hilos sirven lo decide el recurso que
# esperan**, no el número de núcleos.
#
# Mientras unos hilos esperan, el principal puede trabajar con lo que ya llegó: reducir y desenfocar cada foto.

# %% [markdown] lang="en"
# The server handles eight at a time; the others queue. **The resource they wait for decides how many threads
# help**, not the number of cores.
#
# While some threads wait, the main one can work on what has arrived: resize and blur each photo.

# %%
from labkit.imaging.filters import parse_steps
from labkit.jobs import process_image

size = {"width": 320, "height": 240}
steps = parse_steps(["resize", "blur"], {"resize": size, "blur": {"radius": 3}})

# %% holds="recording.most_at_once >= 2 and len(small) == 12"
recording = Recording()
download, soften = recording.of(fetch), recording.of(process_image, "blur")
with ThreadPoolExecutor(4) as pool:
    waiting = {pool.submit(download, url): name for name, url in zip(names, urls)}
    small = {waiting[f]: soften(image_files.decode(f.result()), steps) for f in as_completed(waiting)}
show(charts.timeline, recording.spans)

# %% [markdown] lang="es"
# La fila `main` (sus barras cortas) trabaja mientras las demás esperan: `as_completed` entrega cada foto en cuanto
# llega.
#
# **Punto de control**: ¿qué foto llegó la última? Las claves de `small` están en el orden de llegada: escribe una celda
# que las muestre, y el nombre (entre comillas) en lugar de `None`.

# %% [markdown] lang="en"
# The row `main` (its short bars) works while the others wait: `as_completed` hands out each photo as soon as it
# arrives.
#
# **Checkpoint**: which photo arrived last? The keys of `small` are in the order of arrival: write a cell that shows
# them, and the name (in quotes) in place of `None`.

# %%
last_photo = None
sizes = {image.shape[:2] for image in small.values()}
right = sizes == {(240, 320)} and server.most_at_once <= server.at_once
lesson.checkpoint(2, right, last_photo, list(small)[-1])

# %% [markdown] lang="es" teacher=true
# **Di.** «La línea gris es lo que tendríamos si no hubiera límites. Donde la curva se separa de ella, algo llegó
# a su límite.» No menciones el ocho antes de que lo busquen.
#
# **Pregunta.** ¿Por qué 32 hilos no hacen daño, pero tampoco ayudan? (Ocho reciben su foto y los demás hacen
# cola; esperar apenas cuesta.) ¿Qué pasaría con un servidor de verdad si cada estudiante abriera 500 conexiones?
# (Se quedaría sin lugar para los demás, o bloquearía a quienes abusan.)
#
# **Si falla.** Si la curva salta mucho, sube `runs` a 5 y mira la mediana. Si sube al final, es el costo de crear
# hilos en una máquina ocupada: también es una respuesta.

# %% [markdown] lang="en" teacher=true
# **Say.** "The grey line is what we would get without any limit. Where the curve leaves it, something has reached
# its limit." Do not mention the eight before they have looked for it.
#
# **Ask.** Why do 32 threads neither harm nor help? (Eight get their photo and the others queue; waiting hardly
# costs anything.) What would happen to a real server if every student opened 500 connections? (It would have no
# room for other users, or it would block the ones that take too much.)
#
# **If it goes wrong.** If the curve jumps about, set `runs` to 5 and look at the median. If it rises at the
# end, that is what creating threads costs on a busy machine: an answer, too.

# %% [markdown] lang="es"
# ## Bloque 3. Una carrera, rota a propósito · 24–35 min
#
# Los hilos comparten memoria. Este contador lo usan varios a la vez, y está roto. (El código del laboratorio se
# muestra tal cual, con sus nombres y comentarios en inglés, como en casi todos los proyectos.)

# %% [markdown] lang="en"
# ## Block 3. A race, broken on purpose · 24–35 min
#
# Threads share memory. Several of them use this counter at the same time, and it is broken. (This is the
# lab's real code.)

# %%
from labkit.classroom import race, source

source(race.Counter.add)

# %% [markdown] lang="es"
# Cuatro hilos suman 500 veces cada uno, y lo repetimos tres veces. **Apuesta**: ¿cuánto marcará el contador?

# %% [markdown] lang="en"
# Four threads add 500 times each, and we do it three times. **Bet**: what will the counter show?

# %%
guess_total = starting_bet(2000)

# %% holds="max(broken) < 2000"
broken = [race.add_together(race.Counter(), threads=4, times=500) for _ in range(3)]
unlocked = charts.Guessed("unlocked", guess_total, Timing(tuple(broken)))
show(charts.guesses, [unlocked], unit="additions")

# %% [markdown] lang="es"
# Faltan sumas, y no hubo ningún mensaje de error. (`sleep(0)` cede el turno a otro hilo: no crea el error, hace que
# ocurra mientras miras.) A cámara lenta, con dos hilos y una suma cada uno:

# %% [markdown] lang="en"
# Additions are missing, and no error was raised. (`sleep(0)` gives another thread its turn: it does not create the
# bug, it makes it happen while you watch.) In slow motion, with two threads and one addition each:

# %%
race.slow_motion()

# %% [markdown] lang="es"
# Los dos leyeron 0, así que los dos escribieron 1: la suma de A se perdió. (Si arriba aparece justo 500, los
# cuatro hilos leyeron lo mismo en cada vuelta.) Entre **leer** y **escribir** no debe meterse otro hilo. Eso lo
# garantiza un cerrojo (`Lock`):

# %% [markdown] lang="en"
# Both read 0, so both wrote 1: A's addition was lost. (If a total above is exactly 500, all four threads read the
# same value in every round.) No other thread may act between **reading** and **writing**. A lock (`Lock`) guarantees
# that:

# %%
source(race.SafeCounter.add)

# %%
mended = [race.add_together(race.SafeCounter(), threads=4, times=500) for _ in range(3)]
locked = charts.Guessed("locked", guess_total, Timing(tuple(mended)))
show(charts.guesses, [unlocked, locked], unit="additions")

# %% [markdown] lang="es"
# Ahora el total siempre es exacto. El precio: cada hilo espera su turno.
#
# **Punto de control**: de las 2000 sumas, ¿cuántas perdió el contador roto la primera de las tres veces? (`broken[0]`
# es lo que marcó.)

# %% [markdown] lang="en"
# Now the total is always exact. The price: each thread waits for its turn.
#
# **Checkpoint**: of the 2000 additions, how many did the broken counter lose the first of the three times?
# (`broken[0]` is what it showed.)

# %%
lost = None
lesson.checkpoint(3, max(broken) <= 2000 and set(mended) == {2000}, lost, 2000 - broken[0])

# %% [markdown] lang="es" teacher=true
# **Di.** «Entre leer y escribir puede meterse cualquier otro hilo.» Sin el `sleep(0)` saldrá 2000: este Python rara
# vez cambia de hilo entre esas dos líneas si no se llama a nada entre ellas. Un programa de verdad sí llama a algo, y
# otro Python cambia en otro lugar: entonces pasa una vez entre muchas, y siempre el día de la entrega.
#
# **Pregunta.** ¿Dónde está exactamente el instante peligroso? (Entre leer `self.value` y escribirlo.) ¿Por qué
# no basta con «hacerlo más rápido»? (El hueco se estrecha y no desaparece: falla menos veces y cuesta más verlo.)
#
# **Si sobra tiempo.** ¿Qué pasa si dos hilos necesitan dos cerrojos y los toman en distinto orden? (Cada uno puede
# quedarse esperando para siempre el cerrojo que tiene el otro.)
#
# **Si falla.** Si a alguien le sale 2000 con el contador roto, fue suerte: que lo repita. La cámara lenta pierde
# una suma siempre.

# %% [markdown] lang="en" teacher=true
# **Say.** "Between reading and writing, any other thread may step in." Without the `sleep(0)` they will see 2000:
# this Python hardly ever switches threads between those two lines if nothing is called between them. A real program
# does call something, and another Python switches elsewhere: then it happens once in a great many runs, and always on
# the day of the deadline.
#
# **Ask.** Where exactly is the dangerous instant? (Between reading `self.value` and writing it.) Why is it not
# enough to "do it faster"? (The gap gets narrower and does not go away: it fails less often, and is harder to see.)
#
# **If there is time.** What happens if two threads need two locks and take them in different orders? (Each may wait
# for ever for the lock that the other one holds.)
#
# **If it goes wrong.** If a student gets 2000 from the broken counter, that was luck: run it again. The slow
# motion loses an addition every time.

# %% [markdown] lang="es"
# ## Comprobación: a la caza de un error · 35–42 min
#
# Para ir más rápido, este código recoge las fotos según llegan. Hoy la primera es la más lenta. Mira bien el
# resultado: ¿qué está mal?

# %% [markdown] lang="en"
# ## Check: a bug hunt · 35–42 min
#
# To be faster, this code collects the photos as they arrive. Today the first one is the slowest. Look closely at
# the result: can you find the mistake?

# %% holds="any(suspicious[name].shape != album[name].shape for name in suspicious)"
server.reset(latency_s=0.06)
server.slow_down(names[0], by_s=0.5)
with ThreadPoolExecutor(6) as pool:
    futures = [pool.submit(fetch, url) for url in urls[:6]]
    arrived = [image_files.decode(future.result()) for future in as_completed(futures)]
suspicious = dict(zip(names, arrived))
show(charts.pictures, suspicious)

# %% [markdown] lang="es"
# <details><summary>¿Ya lo tienes? La respuesta</summary>
#
# Las fotos no corresponden a sus nombres: `as_completed` las entrega **en el orden en que acaban**, y `zip`
# las empareja con los nombres en el orden en que se pidieron. El arreglo: recordar a qué nombre pertenece cada
# **futuro**. Un futuro es el comprobante que da `submit` por un resultado que aún no existe. La celda que sigue,
# plegada, lo hace: ábrela con un clic en su borde azul.
#
# </details>

# %% [markdown] lang="en"
# <details><summary>Found it? The answer</summary>
#
# The photos do not belong to their names: `as_completed` hands them out **in the order in which they finish**,
# and `zip` pairs them with the names in the order in which they were requested. The fix: remember which
# name each **future** belongs to. A future is the ticket that `submit` gives for a result that does not exist yet.
# The next cell, folded, does that: a click on its blue border opens it.
#
# </details>

# %% tags=["answer"]
with ThreadPoolExecutor(6) as pool:
    owner = {pool.submit(fetch, url): name for name, url in zip(names, urls[:6])}
    right = {owner[future]: image_files.decode(future.result()) for future in as_completed(owner)}
all((right[name] == album[name]).all() for name in right)

# %% [markdown] lang="es" teacher=true silent=2
# **Di.** Da dos minutos de silencio con la imagen proyectada antes de aceptar respuestas.
#
# **Pregunta.** ¿Por qué ningún mensaje avisó? (Cada paso hizo lo suyo; ninguno comprobó qué nombre
# correspondía a cada foto.) ¿Con `pool.map` habría pasado? (No: `map` conserva el orden.)
#
# **Si falla.** Si alguien no ve el error, pídele que busque a la astronauta.

# %% [markdown] lang="en" teacher=true silent=2
# **Say.** Allow two silent minutes with the picture on the wall before you take answers.
#
# **Ask.** Why did no message warn us? (Each step did its job; none checked which name belonged to which photo.)
# Would it have happened with `pool.map`? (No: `map` keeps the order.)
#
# **If it goes wrong.** If a student does not see it, suggest looking for the astronaut.

# %% [markdown] lang="es"
# ## Resumen y avance · 42–45 min
#
# **Tres hechos**
#
# 1. Muchos hilos pueden esperar a la vez, aunque haya un solo núcleo.
# 2. Cuántos hilos sirven lo decide aquello por lo que esperan.
# 3. Leer y después escribir algo compartido necesita un cerrojo.
#
# **Tres preguntas**
#
# 1. ¿Por qué doce hilos no bastan para que doce descargas tarden la doceava parte?
# 2. Un programa tarda lo mismo con 8 que con 32 hilos. ¿Dónde buscarías el límite?
# 3. ¿Qué cambiaría hoy si los hilos, en vez de esperar, calcularan?
#
# La tercera es la de mañana: [Día 2, procesos](day2_processes.ipynb).

# %% [markdown] lang="en"
# ## Recap and preview · 42–45 min
#
# **Three facts**
#
# 1. Many threads can wait at the same time, even on a single core.
# 2. What the threads wait for decides how many of them help.
# 3. Reading and then writing something shared needs a lock.
#
# **Three questions**
#
# 1. Why are twelve threads not enough for twelve downloads to take a twelfth of the time?
# 2. A program takes as long with 8 threads as with 32. Where would you look for the limit?
# 3. What would change today if the threads computed instead of waiting?
#
# The third is tomorrow's: [Day 2, processes](day2_processes.ipynb).

# %% [markdown] lang="es" teacher=true silent=1
# **Di.** Que cada pareja conteste una de las tres preguntas en una frase. Deja la tercera abierta.

# %% [markdown] lang="en" teacher=true silent=1
# **Say.** Let each pair answer one of the three questions in one sentence. Leave the third open.

# %% [markdown] lang="es"
# ## La hora libre
#
# Los ejercicios están en la [práctica del día 1](practice_day1.ipynb): lees, cambias una celda, la ejecutas, y el
# veredicto aparece debajo. Su progreso es el mismo que el de `python3 lab.py practice` en una terminal.
#
# * **Imprescindible**: 1, tu primera tarea; 2, un pool de hilos para lecturas lentas; 3, un contador que pierde.
# * **Objetivo**: 4, una cola con límite.
# * **Para ir más allá**: 5, una lectura se cuelga y las demás no la esperan.
#
# Cuando acabes, escribe `finished = True`: la celda cierra el servidor y comprueba que no queda nada.

# %% [markdown] lang="en"
# ## The free hour
#
# The exercises are in the [practice for day 1](practice_day1.ipynb): you read, change a cell, run it, and the
# verdict appears below it. Its progress is that of `python3 lab.py practice` in a terminal.
#
# * **Must**: 1, your first task; 2, a thread pool for slow reads; 3, a counter that loses.
# * **Target**: 4, a queue with a limit.
# * **Stretch**: 5, one read hangs, and the others do not wait for it.
#
# When you have finished, write `finished = True`: the cell closes the server and checks that nothing is left.

# %%
finished = False
lesson.keep("server", until=finished)
lesson.end()

# %% [markdown] lang="es" teacher=true
# **Tres niveles.** Lo imprescindible cabe en media hora y lo hacen todos; el objetivo prepara la cola limitada que
# usa el broker del tercer día; ir más allá pide pensar qué se puede cancelar. Nadie espera a que se lo revisen: el
# veredicto sale debajo de la celda, y `%hint` da tres pistas. Recoge la carpeta `work/` de cada estudiante si quieres
# ver quién llegó a qué: `python3 lab.py practice grade CARPETA`.

# %% [markdown] lang="en" teacher=true
# **Three levels.** The must fits into half an hour and is for all students; the target prepares the bounded queue
# that the broker of day three uses; the stretch asks what can be cancelled at all. Students do not wait to be
# checked: the verdict appears below the cell, and `%hint` gives three hints. Collect each student's folder `work/` to
# see who got how far: `python3 lab.py practice grade FOLDER`.
